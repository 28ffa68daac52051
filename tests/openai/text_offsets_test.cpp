#include "openai/text_offsets.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace moesaic::openai {
namespace {

using Offsets = std::vector<std::int64_t>;

Offsets offsets(std::string_view text, const std::vector<std::string>& tokens) {
  TextOffsets of_text(text);
  Offsets found;
  for (const std::string& token : tokens) found.push_back(of_text.next(token));
  return found;
}

TEST(TextOffsets, TheFirstTokensSpaceIsNotInTheText) {
  EXPECT_EQ(offsets("One day Tom was", {" One", " day", " Tom", " was"}), (Offsets{0, 3, 7, 11}));
  EXPECT_EQ(offsets(" One day", {" One", " day"}), (Offsets{0, 4}));
  EXPECT_EQ(offsets("One", {" ", "One"}), (Offsets{0, 0}));
}

TEST(TextOffsets, AreInCharacters) {
  EXPECT_EQ(offsets("\u00e9\u2603 b", {" \u00e9", "\xE2", "\x98", "\x83", " b"}), (Offsets{0, 1, 2, 2, 2}));
  EXPECT_EQ(offsets("a\uFFFD\uFFFDb", {"a", "\xE2", "\x98", "b"}), (Offsets{0, 1, 2, 3}));
}

TEST(TextOffsets, WhatTheTextDoesNotHaveIsWhereItWouldBe) {
  EXPECT_EQ(offsets("one two", {" one", " two", "\n", " three"}), (Offsets{0, 3, 7, 7}));  // cut by a stop string
  EXPECT_EQ(offsets("one", {"<unk>", "", "one"}), (Offsets{0, 0, 0}));
  EXPECT_EQ(offsets("One  day  Tom", {" One", " day", " Tom"}), (Offsets{0, 4, 9}));  // spaces were left out
  EXPECT_EQ(offsets("", {"token_id:5", "token_id:6"}), (Offsets{0, 0}));
}

}  // namespace
}  // namespace moesaic::openai
