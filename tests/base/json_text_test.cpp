#include "base/json_text.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"

namespace moesaic {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using testing::HasSubstr;

std::string refusal(const std::string& text, const std::string& remedy = "") {
  try {
    parse_json(text, "a.json", remedy);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(JsonText, BytesThatAreNotUtf8AreReplaced) {
  EXPECT_EQ(json_text(json{{"path", "caf\xE9.h5"}}), "{\"path\":\"caf\uFFFD.h5\"}");
  EXPECT_EQ(json_text(json{{"a\xFF", 1}}), "{\"a\uFFFD\":1}");
  EXPECT_EQ(json_text(ordered_json{{"b", "\xC3"}, {"a", "\u00e9"}}), "{\"b\":\"\uFFFD\",\"a\":\"\u00e9\"}");
  EXPECT_EQ(ascii_json_text("a\xFFz\u00e9\n"), R"("a\ufffdz\u00e9\n")");
}

TEST(JsonText, WhatIsWrittenCanBeRead) {
  const json value = {{"host", "n\x80"}, {"list", {1, 2.5, nullptr, "\u2603"}}};
  EXPECT_EQ(parse_json(json_text(value, 2), "it").at("list"), value.at("list"));
}

TEST(JsonText, AnErrorNamesTheFileAndWhatIsWrong) {
  EXPECT_EQ(refusal("{\"a\": \"\xE9\"}"), "a.json: not valid JSON: byte 7 is 0xe9, which is not UTF-8");
  EXPECT_EQ(refusal("{\"\xFF\": 1}", "write it anew"),
            "a.json: not valid JSON: byte 2 is 0xff, which is not UTF-8; write it anew");
  EXPECT_THAT(refusal("[1, ", "write it anew"), HasSubstr("a.json: not valid JSON: "));
  EXPECT_THAT(refusal("[1, ", "write it anew"), testing::EndsWith("; write it anew"));
  EXPECT_THAT(refusal(std::string(100000, '[')), HasSubstr("a.json: JSON nested 100000 levels deep"));
}

}  // namespace
}  // namespace moesaic
