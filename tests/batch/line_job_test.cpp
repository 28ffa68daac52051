#include "batch/line_job.hpp"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace moesaic::batch
