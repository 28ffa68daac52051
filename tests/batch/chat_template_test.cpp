#include "batch/chat_template.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/error.hpp"

namespace moesaic::batch {
namespace {

using testing::HasSubstr;

std::string refusal(const std::string& text) {
  try {
    ChatTemplate::parse(text, "chat.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ChatTemplate, PlainPutsMessagesOneAfterAnother) {
  const ChatTemplate plain = ChatTemplate::load("plain");
  EXPECT_EQ(plain.render({{"system", "Be kind."}, {"user", "Hi {role}"}, {"assistant", "Hello"}, {"user", "Bye"}}),
            "Be kind.\n\nHuman: Hi {role}\n\nAssistant: Hello\n\nHuman: Bye\n\nAssistant:");
  EXPECT_EQ(plain.stop_strings(), std::vector<std::string>{"\n\nHuman:"});
  EXPECT_THROW(plain.render({{"tool", "x"}}), Error);
}

TEST(ChatTemplate, AFileMayNameARoleAndTheOthers) {
  const std::string path = testing::TempDir() + "chat.json";
  std::ofstream(path) << R"({"roles": {"user": "<{content}>", "*": "[{role}|{content}]"}, "generation_prompt": "!"})";
  const ChatTemplate chat = ChatTemplate::load(path);
  EXPECT_EQ(chat.render({{"user", "{content}"}, {"tool", "{role}"}}), "<{content}>[tool|{role}]!");
  EXPECT_TRUE(chat.stop_strings().empty());
}

TEST(ChatTemplate, TheLastMessageMayGoOn) {
  const std::vector<Message> chat = {{"user", "Hi"}, {"assistant", "Hello {content}, I"}};
  EXPECT_EQ(ChatTemplate::plain().render_to_continue(chat), "Human: Hi\n\nAssistant: Hello {content}, I");
  EXPECT_EQ(ChatTemplate::raw().render_to_continue(chat), "HiHello {content}, I");
  for (const auto& [assistant, prompt] : {std::pair("{content}<|end|>", "<|bot|>"),
                                          {"<|bot|>{content}", "<|bot|>think"},
                                          {"A: {content} {content}", "A:"}}) {
    const std::string text = R"({"roles": {"user": "{content}", "assistant": ")" + std::string(assistant) +
                             R"("}, "generation_prompt": ")" + prompt + R"("})";
    const ChatTemplate form = ChatTemplate::parse(text, "chat.json");
    try {
      FAIL() << form.render_to_continue(chat);
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("the chat template cannot continue a message: its text for 'assistant'"));
    }
  }
}

TEST(ChatTemplate, WhatIsWrongIsNamed) {
  EXPECT_THAT(refusal("{"), HasSubstr("chat.json: not valid JSON"));
  EXPECT_THAT(refusal(R"({"roles": {}, "generation_prompt": ""})"), HasSubstr("roles is missing"));
  EXPECT_THAT(refusal(R"({"roles": {"user": "U"}, "generation_prompt": ""})"), HasSubstr("roles.user is 'U'"));
  EXPECT_THAT(refusal(R"({"roles": {"user": "{content}"}})"), HasSubstr("generation_prompt is missing"));
  EXPECT_THAT(refusal(R"({"roles": {"user": "{content}"}, "generation_prompt": "", "stop": [""]})"), HasSubstr("stop"));
  EXPECT_THAT(refusal(R"({"roles": {"user": "{content}"}, "generation_prompt": "", "eos": 1})"),
              HasSubstr("eos is no"));
}

}  // namespace
}  // namespace moesaic::batch
