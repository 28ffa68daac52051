#include "openai/unknown_fields.hpp"

#include <gtest/gtest.h>

namespace moesaic::openai {
namespace {

TEST(UnknownFields, EachIsNamedOnce) {
  UnknownFields fields;
  EXPECT_EQ(fields.warning("messages[].name"), "the field 'messages[].name' means nothing here and is ignored");
  EXPECT_EQ(fields.warning("messages[].name"), std::nullopt);
  EXPECT_TRUE(fields.warning("verbosity"));
}

TEST(UnknownFields, NamesAreShownInShortAsciiText) {
  UnknownFields fields;
  EXPECT_EQ(fields.warning("\x1b[2J\r\n\u202e\x7f"),
            "the field '\\u001b[2J\\r\\n\\u202e\\u007f' means nothing here and is ignored");
  const auto longest = fields.warning(std::string(1'000'000, '\x01'));
  ASSERT_TRUE(longest);
  EXPECT_LT(longest->size(), 6 * UnknownFields::kMostName_bytes + 100);
  EXPECT_EQ(fields.warning(std::string(1'000'001, '\x01')), std::nullopt);  // reads the same
}

TEST(UnknownFields, NoMoreThanSomeAreNamed) {
  UnknownFields fields;
  for (std::size_t i = 0; i < UnknownFields::kMostNames; ++i)
    EXPECT_NE(fields.warning(std::to_string(i))->find("'" + std::to_string(i) + "'"), std::string::npos);
  EXPECT_FALSE(fields.warning("0"));
  EXPECT_EQ(fields.warning("more"), "other fields mean nothing here too and are ignored; they are not named");
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(fields.warning("more " + std::to_string(i)));
}

}  // namespace
}  // namespace moesaic::openai
