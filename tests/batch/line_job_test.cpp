#include "batch/line_job.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "../io/expect_error.hpp"
#include "../io/temporary_folder.hpp"
#include "config/grok1.hpp"
#include "engine/text_stream.hpp"

namespace moesaic::batch {
namespace {

class LineJobTest : public testing::Test {
 protected:
  static ModelConfig demo_config() {
    ModelConfig config = kGrok1;
    config.vocab_size = 2048;
    config.sequence_len = 256;
    return config;
  }
  LineJob job(openai::Request request) const { return {model_, 0, "line", std::move(request)}; }
  LineJob job(openai::RequestKind kind, std::vector<openai::Prompt> prompts) const {
    return job(request_of(kind, std::move(prompts)));
  }
  static openai::Request request_of(openai::RequestKind kind, std::vector<openai::Prompt> prompts) {
    openai::Request request;
    request.kind = kind;
    request.prompts = std::move(prompts);
    return request;
  }
  /// The body of a job's record once each of its sequences has so ended.
  static nlohmann::json body_of(LineJob job, const std::vector<Continuation>& results) {
    for (std::size_t k = 0; k < results.size(); ++k) job.finish(static_cast<std::int64_t>(k), results[k]);
    return nlohmann::json::parse(job.finished().record)["response"]["body"];
  }
  GenerationRequest loglikelihood(openai::Prompt context, openai::Prompt continuation) const {
    return job(openai::RequestKind::kLoglikelihood, {std::move(context), std::move(continuation)}).sequence(0);
  }
  /// The body of the only sequence's record, as if it had drawn these tokens after the request's prompt.
  nlohmann::json drawn(openai::Request request, std::vector<std::int32_t> tokens) const {
    LineJob job(model_, 0, "line", std::move(request));
    const GenerationRequest asked = job.sequence(0);
    Continuation result;
    TextStream stream(&tokenizer_, asked.prompt, asked.stop_strings);
    for (const std::int32_t token : tokens) {
      stream.push(token);
      result.scores.push_back({token, -1.0, token, {{token, -1.0}, {1, -1.5}, {0, -2.0}}});
    }
    for (std::size_t i = 1; asked.score_from && i < asked.prompt.size(); ++i)
      result.prompt_scores.push_back({asked.prompt[i], -1.0, 0, {}});
    stream.finish();
    result.text = stream.text();
    result.tokens = std::move(tokens);
    job.finish(0, result);
    return nlohmann::json::parse(job.finished().record)["response"]["body"]["choices"][0];
  }
  std::int32_t id_of(const std::string& piece, bool is_byte = false) const {
    for (std::int32_t id = 0; id < tokenizer_.num_pieces(); ++id)
      if (tokenizer_.piece(id) == piece && tokenizer_.is_byte(id) == is_byte) return id;
    ADD_FAILURE() << piece;
    return 0;
  }
  static std::string repeated(const std::string& text, int times) {
    std::string all;
    for (int i = 0; i < times; ++i) all += text;
    return all;
  }

  ModelConfig config_ = demo_config();
  io::Tokenizer tokenizer_ =
      io::Tokenizer::from_bytes(test::read_file(MOESAIC_TEST_DATA "/demo/tokenizer.model"), "demo");
  RunModel model_{config_, &tokenizer_, "demo"};
};

TEST_F(LineJobTest, SpaceAtTheEndOfAContextIsTheContinuations) {
  const auto expected = loglikelihood("One day Tom was", " happy");
  ASSERT_EQ(expected.prompt, tokenizer_.encode("One day Tom was happy"));
  EXPECT_EQ(expected.score_from, std::ssize(tokenizer_.encode("One day Tom was")));
  const auto moved = loglikelihood("One day Tom was ", "happy");
  EXPECT_EQ(moved.prompt, expected.prompt);
  EXPECT_EQ(moved.score_from, expected.score_from);
  EXPECT_EQ(loglikelihood("One day\n\u3000 ", "Tom").score_from, std::ssize(tokenizer_.encode("One day")));
  EXPECT_ERROR(loglikelihood(" \n", "Tom"), "context without the white space at its end has no tokens");
}

TEST_F(LineJobTest, LoglikelihoodsAreTheRequestsOfLmEval) {
  const auto golden = nlohmann::json::parse(test::read_file(MOESAIC_TEST_DATA "/demo/lm_eval.json"));
  config_.sequence_len = golden["context_length"];
  ASSERT_GT(golden["requests"].size(), 100u);
  for (const auto& expected : golden["requests"]) {
    const std::string context = expected["context"], continuation = expected["continuation"];
    SCOPED_TRACE(expected.dump());
    if (expected["tokens"].is_null()) {
      EXPECT_THROW(loglikelihood(context, continuation), Error);
      continue;
    }
    const auto request = loglikelihood(context, continuation);
    EXPECT_EQ(request.prompt, expected["tokens"].get<std::vector<std::int32_t>>());
    EXPECT_EQ(request.score_from, expected["num_context"]);
  }
}

TEST_F(LineJobTest, ARecordSaysWhatStoodForAContextAndWhatWasCutOffIt) {
  const auto body = [&](openai::Prompt context, openai::Prompt continuation) {
    return body_of(job(openai::RequestKind::kLoglikelihood, {std::move(context), std::move(continuation)}),
                   {Continuation()});
  };
  EXPECT_EQ(body("One", " day").value("truncated_tokens", -1), -1);
  EXPECT_EQ(body("One", " day").value("prefix_token", -1), -1);
  EXPECT_EQ(body("", "One day").value("prefix_token", -1), 1);
  const std::vector<std::int32_t> long_context(300, 5), one = {7};
  EXPECT_EQ(body(long_context, one).value("truncated_tokens", -1), 301 - 257);
  const auto own = loglikelihood(std::vector<std::int32_t>(), std::vector<std::int32_t>{1, 7});  // its own prefix
  EXPECT_THAT(own.prompt, testing::ElementsAre(1, 7));
  EXPECT_EQ(own.score_from, 1);
  config_.bos_token = config_.pad_token;
  EXPECT_EQ(body("", "One day").value("prefix_token", -1), config_.eos_token);
}

TEST_F(LineJobTest, PromptsAreTruncatedToTheirLastTokens) {
  openai::Request request =
      request_of(openai::RequestKind::kCompletion, {"One day Tom was happy", std::vector<std::int32_t>{5, 6, 7}});
  request.truncate_prompt_tokens = 2;
  request.echo = true;
  const auto whole = tokenizer_.encode("One day Tom was happy");
  const std::vector<std::int32_t> last(whole.end() - 2, whole.end());
  EXPECT_EQ(job(request).sequence(0).prompt, last);
  EXPECT_THAT(job(request).sequence(1).prompt, testing::ElementsAre(6, 7));
  const auto body = body_of(job(request), {Continuation(), Continuation()});
  EXPECT_EQ(body["choices"][0]["text"], tokenizer_.decode(last));
  EXPECT_EQ(body["usage"]["prompt_tokens"], 4);

  request.prompts = {repeated("day ", 1000)};
  request.truncate_prompt_tokens = openai::Request::kAllThatFit;
  request.max_tokens = 100;
  EXPECT_EQ(job(request).sequence(0).prompt.size(), 156u);
  request.max_tokens = 256;
  EXPECT_ERROR(job(request), "leave no room for a prompt in the model's context, 256");
  request.truncate_prompt_tokens = 257;
  EXPECT_ERROR(job(request), "prompt has 257 tokens, the model's context is 256");
  request.prompts = {std::string(std::size_t{4} << 20, 'a') + "b"};
  EXPECT_ERROR(job(request), "it is cut from at most 4 MiB");
}

TEST_F(LineJobTest, TheBestOfSeveralAreShown) {
  const auto drawn = [](std::int32_t token, std::initializer_list<double> log_probs) {
    Continuation result;
    for (const double log_prob : log_probs) {
      result.tokens.push_back(token);
      result.scores.push_back({token, log_prob, token, {}});
    }
    return result;
  };
  // The sums of the first prompt's would give another order.
  const std::vector<Continuation> results = {
      drawn(10, {-3}),     drawn(11, {-2, -2}), drawn(12, {-2}),  // 12 ties with 11
      drawn(20, {-1, -9}), drawn(21, {-2}),     drawn(22, {})};
  openai::Request request = request_of(openai::RequestKind::kCompletion, {"One", "Two"});
  request.return_token_ids = true;
  request.num_choices = 2;
  request.num_drawn = 3;
  ASSERT_EQ(job(request).num_sequences(), 6);
  EXPECT_EQ(job(request).sequence(4).prompt, tokenizer_.encode("Two"));
  EXPECT_EQ(job(request).sequence(4).draw_choice, 4u);
  EXPECT_EQ(job(request).sequence(0).num_log_probs, 0u);
  const auto body = body_of(job(request), results);
  std::vector<std::int32_t> shown;
  for (const auto& choice : body["choices"]) {
    EXPECT_EQ(choice["index"], shown.size());
    EXPECT_TRUE(choice["logprobs"].is_null());
    shown.push_back(choice["token_ids"].empty() ? -1 : choice["token_ids"][0].get<std::int32_t>());
  }
  EXPECT_THAT(shown, testing::ElementsAre(11, 12, -1, 21));
  EXPECT_EQ(body["usage"]["completion_tokens"], 7);
  request.num_choices = 3;
  EXPECT_FALSE(job(request).sequence(0).num_log_probs);
}

TEST_F(LineJobTest, TextsAndIdsHaveTheSameLimit) {
  const std::string word = " day", context = "day" + repeated(word, 199);
  ASSERT_EQ(std::ssize(tokenizer_.encode(context)), 200);
  const auto ids = [](std::size_t num) { return std::vector<std::int32_t>(num, 5); };
  EXPECT_EQ(loglikelihood(context, repeated(word, 57)).prompt.size(), 257u);
  EXPECT_EQ(loglikelihood(context, ids(57)).prompt.size(), 257u);
  EXPECT_EQ(loglikelihood(ids(200), ids(57)).prompt.size(), 257u);
  for (const auto& cut : {loglikelihood(context, repeated(word, 58)), loglikelihood(context, ids(58)),
                          loglikelihood(ids(200), ids(58))}) {
    EXPECT_EQ(cut.prompt.size(), 257u);
    EXPECT_EQ(cut.score_from, 199);
  }
  EXPECT_EQ(loglikelihood(ids(200), ids(256)).score_from, 1);
  const char* too_long = "continuation has 257 tokens, the model's context is 256";
  EXPECT_ERROR(loglikelihood(ids(200), ids(257)), too_long);
  EXPECT_ERROR(loglikelihood(context, repeated(word, 257)), too_long);
}

TEST_F(LineJobTest, ATextThatCannotFitIsNotEncodedAndNoneElseIsRefusedSo) {
  std::string longest;
  for (std::int32_t id = 0; id < tokenizer_.num_pieces(); ++id)
    if (const std::string piece = tokenizer_.piece(id); piece.size() > longest.size()) longest = piece;
  EXPECT_EQ(model_.most_token_bytes, std::ssize(longest));
  const std::string fits = repeated(longest, 255);  // behind one for the space at the beginning
  ASSERT_EQ(std::ssize(tokenizer_.encode(fits)), 256);
  EXPECT_EQ(job(openai::RequestKind::kCompletion, {fits}).sequence(0).prompt.size(), 256u);
  EXPECT_ERROR(job(openai::RequestKind::kCompletion, {fits + longest}),
               "prompt has 257 tokens, the model's context is 256");
  EXPECT_ERROR(job(openai::RequestKind::kCompletion, {repeated(longest, 300)}),
               fmt::format("prompt has {} bytes, more than the model's context of 256 tokens of at most {} bytes",
                           300 * longest.size(), longest.size()));
}

TEST_F(LineJobTest, AnEchoIsTheTextOfPromptAndContinuationTogether) {
  openai::Request request;
  request.echo = true;
  const std::int32_t end = 2, the = id_of(" the"), first = id_of("\xE2", true), second = id_of("\x98", true),
                     third = id_of("\x83", true);
  const auto check = [&](const std::vector<std::int32_t>& prompt, const std::vector<std::int32_t>& tokens) {
    request.prompts = {prompt};
    std::vector<std::int32_t> all = prompt;
    all.insert(all.end(), tokens.begin(), tokens.end());
    EXPECT_EQ(drawn(request, tokens)["text"], tokenizer_.decode(all));
  };
  check({the}, {the});
  check({the}, {end, the});
  check({end}, {the, the});
  check({end, the}, {the});
  check({the, first}, {second, third, the});
  check({the, first, second}, {the});
  check({first}, {end, the});
}

TEST_F(LineJobTest, ControlTokensAreNamedAmongTheScores) {
  openai::Request request;
  request.echo = true;
  request.log_probs = 3;
  request.prompts = {std::vector<std::int32_t>{2, id_of(" the")}};
  const nlohmann::json choice = drawn(request, {2, id_of(" the")});
  EXPECT_EQ(choice["text"], "the the");
  const std::string end = tokenizer_.name(2), begin = tokenizer_.name(1);
  ASSERT_FALSE(end.empty() || begin.empty() || end == begin);
  EXPECT_EQ(choice["logprobs"]["tokens"], nlohmann::json({end, " the", end, " the"}));
  EXPECT_EQ(choice["logprobs"]["text_offset"], nlohmann::json({0, 0, 3, 3}));
  EXPECT_EQ(choice["logprobs"]["top_logprobs"][2].size(), 3u);
  EXPECT_EQ(choice["logprobs"]["top_logprobs"][2][begin], -1.5);
}

TEST_F(LineJobTest, TokensThatAreNoTextAreToldApart) {
  openai::Request request;
  request.log_probs = 3;
  request.prompts = {std::vector<std::int32_t>{id_of(" the")}};
  const std::int32_t beyond = static_cast<std::int32_t>(tokenizer_.num_pieces());
  const nlohmann::json choice = drawn(
      request, {id_of("\xE2", true), id_of("\x98", true), id_of("\x83", true), id_of("a", true), beyond, beyond + 1});
  EXPECT_EQ(choice["text"], "\u2603a[UNK][UNK]");
  EXPECT_EQ(choice["logprobs"]["tokens"],
            nlohmann::json({"<0xE2>", "<0x98>", "<0x83>", "a", fmt::format("token_id:{}", beyond),
                            fmt::format("token_id:{}", beyond + 1)}));
  EXPECT_EQ(choice["logprobs"]["text_offset"], nlohmann::json({0, 1, 1, 1, 2, 7}));
}

TEST_F(LineJobTest, WhatTheTemplateHasBeforeAnAnswerIsNoPartOfIt) {
  openai::Request request;
  request.kind = openai::RequestKind::kChat;
  request.answer_prefix = " ";
  request.prompts = {"Assistant:"};
  EXPECT_EQ(drawn(request, {id_of(" the"), id_of(" the")})["message"]["content"], "the the");
  request.answer_prefix = "";
  EXPECT_EQ(drawn(request, {id_of(" the")})["message"]["content"], " the");
}

TEST_F(LineJobTest, ARequestsOwnSeedDrawsTheSameOnAnyLine) {
  openai::Request request;
  request.prompts = {"One", "Two"};
  request.num_choices = request.num_drawn = 2;
  for (const bool has_seed : {false, true}) {
    request.has_seed = has_seed;
    const LineJob job(model_, 7, "line", request);
    for (std::int64_t k = 0; k < 4; ++k) {
      EXPECT_EQ(job.sequence(k).draw_sequence, has_seed ? 0u : 7u);
      EXPECT_EQ(job.sequence(k).draw_choice, k);
    }
  }
}

}  // namespace
}  // namespace moesaic::batch
