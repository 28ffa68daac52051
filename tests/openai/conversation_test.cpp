#include "openai/conversation.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"

namespace moesaic::openai {
namespace {

using testing::HasSubstr;

/// A token a byte.
std::vector<std::int32_t> bytes(const std::string& text) { return {text.begin(), text.end()}; }

std::string text_of(Conversation& chat, std::int64_t most_tokens) {
  const auto tokens = chat.prompt(bytes, most_tokens).tokens;
  return {tokens.begin(), tokens.end()};
}

TEST(Conversation, OldestTurnsAreLeftOutForGood) {
  Conversation chat(ChatTemplate::raw());
  chat.set_system("S");
  for (const char digit : {'1', '2', '3', '4'}) {
    chat.add_user(std::string(1, digit) + "asks");
    chat.add_answer(std::string(1, digit) + "says");
  }
  chat.add_user("last.");
  EXPECT_EQ(chat.prompt(bytes, 46).num_left_out, 0u);
  const auto fewer = chat.prompt(bytes, 45);  // three quarters are 33
  EXPECT_EQ(fewer.num_left_out, 4u);
  EXPECT_EQ(std::string(fewer.tokens.begin(), fewer.tokens.end()), "S3asks3says4asks4sayslast.");
  EXPECT_EQ(chat.prompt(bytes, 1000).tokens, fewer.tokens);
  EXPECT_EQ(chat.messages().size(), 10u);
  EXPECT_EQ(text_of(chat, 6), "Slast.");
  EXPECT_THROW(text_of(chat, 5), Error);
  chat.reset();
  chat.add_user("anew");
  EXPECT_EQ(text_of(chat, 45), "Sanew");
}

TEST(Conversation, WhatWasLeftOutMayBeTakenBackToo) {
  Conversation chat(ChatTemplate::raw());
  chat.add_user("12345678");
  chat.add_answer("9");
  chat.add_user("x");
  EXPECT_EQ(text_of(chat, 4), "x");
  EXPECT_TRUE(chat.undo());
  EXPECT_TRUE(chat.drop_answer());
  EXPECT_FALSE(chat.drop_answer());
  EXPECT_EQ(text_of(chat, 8), "12345678");
  EXPECT_TRUE(chat.undo());
  EXPECT_FALSE(chat.undo());
  EXPECT_TRUE(chat.empty());
}

TEST(Conversation, IsSavedAndLoaded) {
  Conversation chat(ChatTemplate::plain());
  chat.set_system("Be kind.");
  chat.add_user("\"1\"\n2");
  chat.add_answer("ü");
  Conversation copy(ChatTemplate::plain());
  copy.load(chat.json(), "saved");
  EXPECT_EQ(copy.json(), chat.json());
  const auto refusal = [&](const std::string& text) -> std::string {
    try {
      copy.load(text, "saved");
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(refusal("{}"), HasSubstr("saved: is no saved chat: messages is missing"));
  EXPECT_THAT(refusal(R"({"messages": [{"role": "tool", "content": "x"}]})"), HasSubstr("no role 'tool'"));
  EXPECT_THAT(refusal(R"({"messages": [{"role": "user", "content": "x"}], "n": 2})"), HasSubstr("n is no field"));
  EXPECT_EQ(copy.json(), chat.json());
  copy.set_system("");
  EXPECT_EQ(copy.messages().size(), 2u);
}

}  // namespace
}  // namespace moesaic::openai
