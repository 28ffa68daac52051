#include "batch/line_job.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "../io/expect_error.hpp"
#include "../io/temporary_folder.hpp"

namespace moesaic::batch {
namespace {

class LineJobTest : public testing::Test {
 protected:
  static ModelConfig demo_config() {
    ModelConfig config;
    config.vocab_size = 2048;
    config.sequence_len = 256;
    return config;
  }
  LineJob job(RequestKind kind, std::vector<Prompt> prompts) const {
    Request request;
    request.kind = kind;
    request.prompts = std::move(prompts);
    return {model_, 0, "line", std::move(request)};
  }
  GenerationRequest loglikelihood(Prompt context, Prompt continuation) const {
    return job(RequestKind::kLoglikelihood, {std::move(context), std::move(continuation)}).sequence(0);
  }
  /// The body of the only sequence's record, as if it had drawn these tokens after the request's prompt.
  nlohmann::json drawn(Request request, std::vector<std::int32_t> tokens) const {
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

TEST_F(LineJobTest, TextsAndIdsHaveTheSameLimit) {
  const std::string word = " day", context = "day" + repeated(word, 199);
  ASSERT_EQ(std::ssize(tokenizer_.encode(context)), 200);
  const auto ids = [](std::size_t num) { return std::vector<std::int32_t>(num, 5); };
  EXPECT_EQ(loglikelihood(context, repeated(word, 57)).prompt.size(), 257u);
  EXPECT_EQ(loglikelihood(context, ids(57)).prompt.size(), 257u);
  EXPECT_EQ(loglikelihood(ids(200), ids(57)).prompt.size(), 257u);
  const char* too_long = "context with its continuation has 258 tokens, the model's context is 256";
  EXPECT_ERROR(loglikelihood(context, repeated(word, 58)), too_long);
  EXPECT_ERROR(loglikelihood(context, ids(58)), too_long);
  EXPECT_ERROR(loglikelihood(ids(200), ids(58)), too_long);
}

TEST_F(LineJobTest, ATextThatCannotFitIsNotEncodedAndNoneElseIsRefusedSo) {
  std::string longest;
  for (std::int32_t id = 0; id < tokenizer_.num_pieces(); ++id)
    if (const std::string piece = tokenizer_.piece(id); piece.size() > longest.size()) longest = piece;
  EXPECT_EQ(model_.most_token_bytes, std::ssize(longest));
  const std::string fits = repeated(longest, 255);  // behind one for the space at the beginning
  ASSERT_EQ(std::ssize(tokenizer_.encode(fits)), 256);
  EXPECT_EQ(job(RequestKind::kCompletion, {fits}).sequence(0).prompt.size(), 256u);
  EXPECT_ERROR(job(RequestKind::kCompletion, {fits + longest}), "prompt has 257 tokens, the model's context is 256");
  EXPECT_ERROR(job(RequestKind::kCompletion, {repeated(longest, 300)}),
               fmt::format("prompt has {} bytes, more than the model's context of 256 tokens of at most {} bytes",
                           300 * longest.size(), longest.size()));
}

TEST_F(LineJobTest, AnEchoIsTheTextOfPromptAndContinuationTogether) {
  Request request;
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
  Request request;
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
  Request request;
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
  Request request;
  request.kind = RequestKind::kChat;
  request.answer_prefix = " ";
  request.prompts = {"Assistant:"};
  EXPECT_EQ(drawn(request, {id_of(" the"), id_of(" the")})["message"]["content"], "the the");
  request.answer_prefix = "";
  EXPECT_EQ(drawn(request, {id_of(" the")})["message"]["content"], " the");
}

TEST_F(LineJobTest, ARequestsOwnSeedDrawsTheSameOnAnyLine) {
  Request request;
  request.prompts = {"One", "Two"};
  request.num_choices = 2;
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
