#include "batch/input_check.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/error.hpp"
#include "openai/json_line.hpp"

namespace moesaic::batch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

const openai::ChatTemplate kPlain = openai::ChatTemplate::plain();
const std::string kGood = R"({"prompt": "a"})", kChat = R"({"messages": [{"role": "user", "content": "a"}]})";

/// What an input of this content is refused with; "": it is not.
std::string refusal(const std::string& content, openai::LineFormat format = openai::LineFormat::kJson,
                    bool has_template = false) {
  const std::string path = testing::TempDir() + "input";
  std::ofstream(path, std::ios::binary) << content;
  const openai::RequestDefaults defaults{1000, 0, has_template ? &kPlain : nullptr};
  InputCheck check(format, defaults);
  content_of(path, [&](const InputLine& line) { check.see(line); });
  try {
    check.require_requests(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(InputCheck, OneRequestIsEnough) {
  EXPECT_EQ(refusal(""), "");
  EXPECT_EQ(refusal("\n \n"), "");
  EXPECT_EQ(refusal("[1]\nnot JSON\n" + kChat + "\n" + kGood + "\n[2]\n"), "");
  EXPECT_EQ(refusal("\xFFz\nOnce\n", openai::LineFormat::kText), "");
  EXPECT_EQ(refusal("[Verse 1]\n[Verse 2]", openai::LineFormat::kText), "");
}

TEST(InputCheck, RequestsThatAreRefusedForTheirFieldsAreRequests) {
  EXPECT_EQ(refusal(R"({"prompt": "a", "n": 0})"
                    "\nnot JSON"),
            "");
}

TEST(InputCheck, AnArrayOverTheWholeFileIsRefusedWhateverItsElements) {
  const std::string contents[] = {"[" + kGood + ", " + kGood + "]\n",
                                  "[\n" + kGood + ",\n" + kGood + "\n]\n",
                                  "\xEF\xBB\xBF [" + kGood + ",\n" + kGood + "]",
                                  "[\n  {\n    \"prompt\": \"a\"\n  }\n]\n",
                                  "[]",
                                  "[{\"prompt\": \"" + std::string(openai::kLargestLine_bytes, 'a') + "\"}]"};
  for (const std::string& content : contents)
    EXPECT_THAT(refusal(content), HasSubstr("is one JSON array, expected a JSON object a line: jq -c '.[]'"))
        << content.substr(0, 80);
}

TEST(InputCheck, WhatIsNotOfTheFormatIsRefusedWithARemedy) {
  EXPECT_THAT(refusal("Once upon\na time\n"),
              HasSubstr("no line that is a JSON object with a request (the first: not valid JSON (at byte 1)"));
  EXPECT_THAT(refusal("Once upon\na time\n"), HasSubstr("give --format text"));
  EXPECT_THAT(refusal("{\n  \"prompt\": \"a\"\n}\n{\n  \"prompt\": \"b\"\n}\n"),
              HasSubstr("jq -c . makes a line of each"));
  EXPECT_THAT(refusal("prompt,max_tokens\nOnce,5\n"), HasSubstr("no line that is a JSON object"));
  EXPECT_THAT(refusal("caf\xE9\n", openai::LineFormat::kText),
              HasSubstr("no line of text in UTF-8; the first: not UTF-8"));
}

TEST(InputCheck, ChatsAloneNeedATemplate) {
  EXPECT_THAT(refusal(kChat + "\n" + kChat),
              HasSubstr("has chats and no other request that could be answered: a chat request needs --chat-template"));
  EXPECT_THAT(refusal("not JSON\n" + kChat), HasSubstr("--chat-template"));
  EXPECT_EQ(refusal(kChat, openai::LineFormat::kJson, true), "");
}

TEST(CustomId, IsFoundInTheOutermostObject) {
  EXPECT_EQ(custom_id_of(R"({"body": {"custom_id": "inner"}, "x": ["custom_id"], "custom_id": "a\u0062", "rest": )"),
            "ab");
  for (const char* line :
       {R"({"custom_id": null})", R"({"custom_id": 5})", R"({"custom_id": ["a"]})", R"({"prompt": "a"})",
        R"({"x": {"custom_id": "a"}})", R"(["custom_id", "a"])", R"("custom_id")", R"({"custom_id")", ""})
    EXPECT_EQ(custom_id_of(line), std::nullopt) << line;
}

TEST(RepeatedIds, AreTheLinesThatCannotBeToldApart) {
  RepeatedIds ids;
  std::int64_t line = 0;
  for (const char* id : {"a", "b", "c", "b", "d", "a", "a"}) ids.add(id, ++line);
  EXPECT_THAT(ids.repeats(), ElementsAre(Pair(2, 4), Pair(1, 6), Pair(1, 7)));
  EXPECT_THAT(ids.warnings("in"),
              ElementsAre("in: lines 2 and 4 have the same custom_id", "in: lines 1 and 6 have the same custom_id",
                          "in: lines 1 and 7 have the same custom_id"));
  for (int i = 0; i < 100; ++i) ids.add("z", ++line);
  const auto warnings = ids.warnings("in");
  ASSERT_EQ(warnings.size(), 21u);
  EXPECT_EQ(warnings.back(), "in: 82 lines more with the custom_id of an earlier one");
  EXPECT_TRUE(RepeatedIds().warnings("in").empty());
}

bool needs_later_rules(const std::string& lines, openai::LineFormat format = openai::LineFormat::kJson) {
  const std::string path = testing::TempDir() + "requests";
  std::ofstream(path, std::ios::binary) << lines;
  openai::RequestDefaults defaults;
  defaults.vocab_size = 100;
  InputCheck check(format, defaults);
  content_of(path, [&](const InputLine& line) { check.see(line); });
  return check.needs_later_rules();
}

TEST(LaterRules, RequestsOfLaterRulesAreFound) {
  const std::string bare = R"({"prompt": "a"})"
                           "\n",
                    seeded = R"({"prompt": "a", "seed": 0})"
                             "\n";
  EXPECT_FALSE(needs_later_rules(bare + bare));
  EXPECT_TRUE(needs_later_rules(bare + seeded));
  EXPECT_TRUE(
      needs_later_rules(R"({"custom_id": "1", "url": "/v1/completions", "body": {"prompt": "a", "seed": -1}})"));
  EXPECT_TRUE(needs_later_rules(R"({"prompt": "a", "\u0073e\u0065d": 5})"));
  EXPECT_TRUE(needs_later_rules(R"({"prompt": "a", "see\u0064": 5})"));
  EXPECT_FALSE(needs_later_rules(R"({"prompt": "seed", "user": "\"seed\" \u0073\u00e9", "seed": null})"));
  EXPECT_FALSE(needs_later_rules(R"({"prompt": "a", "seed": "five"})"
                                 "\n"
                                 R"({"seed": 5})"));  // become errors
  EXPECT_FALSE(needs_later_rules(R"({"prompt": "a", "seed": 5, "temperature": 0})"));
  EXPECT_TRUE(needs_later_rules(R"({"type": "loglikelihood", "context": [1], "continuation": [2]})"));
  EXPECT_TRUE(needs_later_rules(bare + R"({"prompt": "a", "stop_token_ids": [7]})"));
  EXPECT_TRUE(needs_later_rules(R"({"prompt": "a", "best_of": 2})"));
  EXPECT_FALSE(needs_later_rules(R"({"prompt": "a", "best_of": 1, "stop_token_ids": []})"));
  EXPECT_FALSE(needs_later_rules(seeded, openai::LineFormat::kText));
}

}  // namespace
}  // namespace moesaic::batch
