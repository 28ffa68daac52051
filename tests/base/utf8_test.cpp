#include "base/utf8.hpp"

#include <gtest/gtest.h>

namespace moesaic {
namespace {

TEST(Utf8, ValidTextIsValid) {
  for (const char* text : {"", "a", "\u00e9", "\u0800", "\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010ffff"})
    EXPECT_FALSE(first_invalid_utf8(text)) << text;
  EXPECT_FALSE(first_invalid_utf8(std::string_view("\0", 1)));
}

TEST(Utf8, WhatIsNotValidIsFoundAtItsFirstByte) {
  for (const char* bad :
       {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xED\xBF\xBF", "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xC3", "\xE2\x98", "\xF0\x9F\x98", "\xC3z"}) {
    EXPECT_EQ(first_invalid_utf8(bad), 0u);
    EXPECT_EQ(first_invalid_utf8(std::string("ab\u00e9") + bad), 4u);
    EXPECT_FALSE(first_invalid_utf8(valid_utf8(bad)));
  }
}

TEST(Utf8, EveryInvalidByteIsReplaced) {
  EXPECT_EQ(valid_utf8("a\xE2\x98z"), "a\uFFFD\uFFFDz");
  EXPECT_EQ(valid_utf8("\u00e9"), "\u00e9");
}

TEST(Utf8, ABeginningOfACharacterAtTheEnd) {
  for (const char* text : {"", "a", "\u00e9", "\u2603", "\U0001F600", "\x80", "\xC1", "\xE0\x9F", "\xED\xA0",
                           "\xF0\x8F", "\xF4\x90", "\xF5", "\xFF", "\xC3z", "\xF0\x9F\x98z", "\x9F\x98\x80"})
    EXPECT_EQ(incomplete_at_end(text), 0u) << text;
  for (const std::string begin :
       {"\xC3", "\xE0", "\xE0\xA0", "\xED\x9F", "\xE2\x98", "\xF0\x90", "\xF4\x8F", "\xF0\x9F\x98"})
    for (const std::string before : {"", "ab", "\u2603", "\xE2\x98", "\xF0"})
      EXPECT_EQ(incomplete_at_end(before + begin), begin.size()) << before + begin;
}

TEST(Utf8, SpaceAtTheEndIsPythons) {
  EXPECT_EQ(without_space_at_end("a b \t\r\n\x0b\x0c\x1c\x1f\u0085\u00a0\u1680\u2000\u200a\u2029\u202f\u205f\u3000"),
            "a b");
  EXPECT_EQ(without_space_at_end(" \n"), "");
  for (const char* text : {"", "a", "a\u200b", "\u00e9", "a\x1b", "a\x7f"}) EXPECT_EQ(without_space_at_end(text), text);
}

TEST(Utf8, AShortenedTextCutsNoCharacter) {
  EXPECT_EQ(shortened("abc", 3), "abc");
  EXPECT_EQ(shortened("abcd", 3), "abc...");
  EXPECT_EQ(shortened("a\u2603b", 3), "a...");
}

}  // namespace
}  // namespace moesaic
