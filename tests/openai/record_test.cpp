#include "openai/record.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

namespace moesaic::openai {
namespace {

using nlohmann::json;

const std::string kId(32, 'a');

Request request(RequestKind kind, std::optional<std::int32_t> log_probs = {}) {
  Request r;
  r.kind = kind;
  r.custom_id = "line \"1\"";
  r.log_probs = log_probs;
  return r;
}

/// Three tokens; the first is an echoed prompt's, the second and third are the two bytes of one character.
Choice scored() {
  Choice choice{"a\u00e9", true, {}};
  choice.scores.push_back({{"a"}, std::nullopt, {}});
  choice.scores.push_back({{"\xC3"}, -0.5, {{{"\xC3"}, -0.5}, {{"\xA9"}, -1.25}}});
  choice.scores.push_back({{"\xA9"}, -2.0, {{{"b"}, -0.125}}});
  return choice;
}

TEST(Result, ACompletionIsTheseBytes) {
  Completion completion{{{"one", true, {}}, {"t\"wo\n", false, {}}}, 3, 7};
  EXPECT_EQ(completion_record(kId, request(RequestKind::kCompletion), "grok", completion),
            R"({"id":"batch_req_)" + kId +
                R"(","custom_id":"line \"1\"","response":{"status_code":200,"request_id":"req_)" + kId +
                R"(","body":{"id":"cmpl-)" + kId +
                R"(","object":"text_completion","created":0,"model":"grok","choices":[)" +
                R"({"index":0,"text":"one","logprobs":null,"finish_reason":"stop"},)" +
                R"({"index":1,"text":"t\"wo\n","logprobs":null,"finish_reason":"length"}],)" +
                R"("usage":{"prompt_tokens":3,"completion_tokens":7,"total_tokens":10}}},"error":null})" + "\n");
}

TEST(Result, CompletionsListTokensTheirScoresAndOffsets) {
  const json record =
      json::parse(completion_record(kId, request(RequestKind::kCompletion, 2), "m", {{scored()}, 1, 2}));
  const json& scores = record["response"]["body"]["choices"][0]["logprobs"];
  EXPECT_EQ(scores["tokens"], json({"a", "\uFFFD", "\uFFFD"}));
  EXPECT_EQ(scores["token_logprobs"], json({nullptr, -0.5, -2.0}));
  EXPECT_EQ(scores["text_offset"], json({0, 1, 2}));
  EXPECT_EQ(scores["top_logprobs"][0], nullptr);
  EXPECT_EQ(scores["top_logprobs"][1], json({{"\uFFFD", -0.5}}));
  EXPECT_EQ(scores["top_logprobs"][2], json({{"b", -0.125}, {"\uFFFD", -2.0}}));
}

TEST(Result, OffsetsAreInTheTextThatIsReturned) {
  Choice choice{"One day", true, {{{" One"}, std::nullopt, {}}, {{" day"}, -1.0, {}}}};
  const json record = json::parse(completion_record(kId, request(RequestKind::kCompletion, 0), "m", {{choice}, 1, 1}));
  EXPECT_EQ(record["response"]["body"]["choices"][0]["logprobs"]["text_offset"], json({0, 3}));
}

TEST(Result, ChatsListTokensWithTheirBytes) {
  const json record = json::parse(completion_record(kId, request(RequestKind::kChat, 2), "m", {{scored()}, 1, 2}));
  const json& body = record["response"]["body"];
  EXPECT_EQ(body["object"], "chat.completion");
  EXPECT_EQ(body["choices"][0]["message"], json({{"role", "assistant"}, {"content", "a\u00e9"}}));
  const json& token = body["choices"][0]["logprobs"]["content"][1];
  EXPECT_EQ(token["token"], "\uFFFD");
  EXPECT_EQ(token["bytes"], json::array({0xC3}));
  EXPECT_EQ(token["logprob"], -0.5);
  EXPECT_EQ(token["top_logprobs"][1]["bytes"], json::array({0xA9}));
}

TEST(Result, TokensWithoutTextHaveTheirNames) {
  Choice choice{"a b", false, {}};
  choice.scores.push_back({{"a"}, -0.5, {}});
  choice.scores.push_back({{"", "[EOS]"}, -1.0, {{{"", "[PAD]"}, -0.25}, {{"", "[EOS]"}, -1.0}}});
  choice.scores.push_back({{" b"}, -1.5, {{{"", "[EOS]"}, -0.5}}});
  const json completion =
      json::parse(completion_record(kId, request(RequestKind::kCompletion, 2), "m", {{choice}, 1, 3}));
  const json& scores = completion["response"]["body"]["choices"][0]["logprobs"];
  EXPECT_EQ(scores["tokens"], json({"a", "[EOS]", " b"}));
  EXPECT_EQ(scores["top_logprobs"][1], json({{"[PAD]", -0.25}, {"[EOS]", -1.0}}));
  EXPECT_EQ(scores["text_offset"], json({0, 1, 1}));
  EXPECT_EQ(completion["response"]["body"]["choices"][0]["text"], "a b");
  const json chat = json::parse(completion_record(kId, request(RequestKind::kChat, 2), "m", {{choice}, 1, 3}));
  const json& token = chat["response"]["body"]["choices"][0]["logprobs"]["content"][1];
  EXPECT_EQ(token["token"], "[EOS]");
  EXPECT_EQ(token["bytes"], json::array());
  EXPECT_EQ(token["top_logprobs"][0]["token"], "[PAD]");
}

TEST(Result, ALoglikelihoodHasItsSum) {
  Request r = request(RequestKind::kLoglikelihood);
  r.model = "mine";
  const json record = json::parse(loglikelihood_record(kId, r, "m", {{-0.1, -0.2}, true}));
  const json& body = record["response"]["body"];
  EXPECT_EQ(body["logprob"].get<double>(), -0.1 + -0.2);  // printed so that it is read back as it was
  EXPECT_EQ(body["token_logprobs"], json({-0.1, -0.2}));
  EXPECT_EQ(body["num_tokens"], 2);
  EXPECT_EQ(body["is_greedy"], true);
  EXPECT_EQ(body["model"], "mine");
  const double infinite = -std::numeric_limits<double>::infinity();
  EXPECT_THROW(loglikelihood_record(kId, r, "m", {{infinite}, true}), std::logic_error);
}

TEST(Result, AnErrorHasNoResponse) {
  const json record = json::parse(error_record(kId, {}, "invalid_request", "bad \xFF"));
  EXPECT_EQ(record["custom_id"], nullptr);
  EXPECT_EQ(record["response"], nullptr);
  EXPECT_EQ(record["error"], json({{"code", "invalid_request"}, {"message", "bad \uFFFD"}}));
}

TEST(Result, IdsDeriveFromIndexAndLine) {
  EXPECT_EQ(record_id(3, "line"), record_id(3, "line"));
  EXPECT_NE(record_id(3, "line"), record_id(4, "line"));
  EXPECT_NE(record_id(3, "line"), record_id(3, "lime"));
  EXPECT_EQ(record_id(0, "").size(), 32u);
}

}  // namespace
}  // namespace moesaic::openai
