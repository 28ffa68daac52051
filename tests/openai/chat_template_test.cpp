#include "openai/chat_template.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.hpp"

namespace moesaic::openai {
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

TEST(ChatTemplate, WhatStandsBeforeAnAnswerIsNoPartOfIt) {
  const auto prefix = [](const std::string& roles, const std::string& prompt) {
    return ChatTemplate::parse(R"({"roles": )" + roles + R"(, "generation_prompt": ")" + prompt + "\"}", "chat.json")
        .answer_prefix();
  };
  EXPECT_EQ(ChatTemplate::plain().answer_prefix(), " ");
  EXPECT_EQ(ChatTemplate::raw().answer_prefix(), "");
  EXPECT_EQ(prefix(R"({"assistant": "<a>{content}</a>"})", "<a>"), "");
  EXPECT_EQ(prefix(R"({"*": "[{role}]\n{content}"})", "[assistant]"), "\n");
  EXPECT_EQ(prefix(R"({"*": "{role}: {content}", "assistant": "A: {content}"})", "A:"), " ");
  EXPECT_EQ(prefix(R"({"assistant": "A: {content}"})", "B:"), "");
  EXPECT_EQ(prefix(R"({"user": "A: {content}"})", "A:"), "");
}

TEST(ChatTemplate, OtherTemplateLanguagesAreRefused) {
  for (const char* jinja :
       {"{% for message in messages %}{{ message['content'] }}{% endfor %}", "{{ messages }}", R"("{{ messages }}")",
        R"([{"name": "default", "template": "{{ messages }}"}])", "{{- range .Messages }}{{ .Content }}{{ end }}"}) {
    EXPECT_THAT(refusal(jinja), HasSubstr("chat.json: is a Jinja template, and those are not read")) << jinja;
    EXPECT_THAT(refusal(jinja), HasSubstr(R"({"roles": {"user": "Human: {content})")) << jinja;
  }
  for (const char* config : {R"({"bos_token": "<s>", "chat_template": "{{ messages }}"})",
                             R"({"chat_template": [{"name": "default", "template": "{{ messages }}"}]})"})
    EXPECT_THAT(refusal(config), HasSubstr("chat.json: has the field chat_template, as tokenizer_config.json"))
        << config;
  EXPECT_THAT(refusal("roles:\n  user: '{content}'"), HasSubstr(R"(a chat template is JSON)"));
  const auto form = [](const std::string& user, const std::string& prompt, const std::string& stop) {
    return refusal(R"({"roles": {"user": ")" + user + R"("}, "generation_prompt": ")" + prompt + R"(", "stop": [")" +
                   stop + "\"]}");
  };
  for (const std::string user :
       {"{{content}}", "{{ role }}{content}", "{% if x %}{content}", "${content}", "%{content}"})
    EXPECT_THAT(form(user, "", "x"), HasSubstr("chat.json: roles.user has ")) << user;
  EXPECT_THAT(form("{content}", "{{ bos_token }}", "x"), HasSubstr("generation_prompt has '{{'"));
  EXPECT_THAT(form("{content}", "{role}:", "x"), HasSubstr("generation_prompt has {role}"));
  EXPECT_THAT(form("{content}", "", "{{ eos_token }}"), HasSubstr("stop has '{{'"));
  EXPECT_THAT(form("{content}", "", "{role}:"), HasSubstr("stop has {role}"));
  for (const std::string user :
       {"{bos_token}{content}", "{Role}: {content}", "{content} %(content)s", "<%= x %>{content}"})
    EXPECT_THAT(form(user, "", "x"), HasSubstr("roles.user has ")) << user;
  // Braces by themselves are text.
  EXPECT_EQ(form(R"({\"role\": \"{role}\", \"content\": {content}}})", "{", "}}"), "");
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
}  // namespace moesaic::openai
