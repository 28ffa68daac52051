#include "engine/generation.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <utility>

#include "config/grok1.hpp"

namespace moesaic {
namespace {

/// Two prompts that pass in chunks of 4 tokens, a chunk a step.
class GenerationTest : public testing::Test {
 protected:
  static ModelConfig small() {
    ModelConfig config = kGrok1;
    config.vocab_size = 8;
    config.sequence_len = 64;
    return config;
  }
  static SchedulerOptions in_chunks() {
    SchedulerOptions options;
    options.prefill_chunk = options.batch_rows = 4;
    options.blocks_per_group = 8;
    return options;
  }
  std::optional<GenerationRequest> next() {
    if (num_asked_ == 2) return std::nullopt;
    GenerationRequest request;
    request.ticket = num_asked_;
    request.prompt.assign(num_asked_ == 0 ? 10 : 7, 3 + static_cast<std::int32_t>(num_asked_));
    request.max_tokens = 2;
    ++num_asked_;
    return request;
  }
  /// Stands for the ranks. False: there was nothing to do.
  bool step() {
    const Step step = generation_.next();
    for (const TokenBatch& batch : step.batches) {
      const std::vector<float> logits(batch.logit_rows.size() * 8, 0.0f);
      generation_.take(batch, batch.logit_rows, logits.data());
    }
    return !step.batches.empty();
  }

  std::int64_t num_asked_ = 0;
  Generation generation_{small(), in_chunks(), nullptr, [this] { return next(); }, {}};
};

TEST_F(GenerationTest, TokensOfPromptsCountAsTheyPass) {
  EXPECT_EQ(generation_.rates().prompt_tokens, 0);
  std::int64_t before = 0;
  while (step()) {
    const std::int64_t now = generation_.rates().prompt_tokens;
    EXPECT_LE(now - before, 4);
    before = now;
  }
  EXPECT_EQ(generation_.rates().prompt_tokens, 17);
  EXPECT_EQ(generation_.rates().drawn_tokens, 4);
}

TEST_F(GenerationTest, OfAStoppedRunOnlyThoseThatHavePassed) {
  ASSERT_TRUE(step());
  generation_.end();
  ASSERT_FALSE(step());
  EXPECT_EQ(num_asked_, 2);
  EXPECT_EQ(generation_.rates().prompt_tokens, 4);
}

const io::Tokenizer& demo_tokenizer() {
  static const io::Tokenizer tokenizer = [] {
    std::ifstream file(MOESAIC_TEST_DATA "/demo/tokenizer.model", std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    return io::Tokenizer::from_bytes(bytes, "the demo tokenizer");
  }();
  return tokenizer;
}

/// What a request gives whose most probable tokens are these, one after another.
Continuation continued(const GenerationRequest& request, const std::vector<std::int32_t>& tokens) {
  ModelConfig config = kGrok1;
  config.vocab_size = 2048;
  config.sequence_len = 64;
  SchedulerOptions options;
  options.blocks_per_group = 8;
  Continuation ended;
  std::string shown;
  std::optional<GenerationRequest> asked = request;
  Generation generation(config, options, &demo_tokenizer(), [&] { return std::exchange(asked, std::nullopt); },
                        {.text = [&](std::int64_t, const std::string& text) { shown += text; },
                         .finish = [&](std::int64_t, const Continuation& result) { ended = result; },
                         .before_step = {},
                         .stopped = {}});
  for (std::size_t i = 0; i < tokens.size() && ended.finish_reason == FinishReason::kNone; ++i) {
    const Step step = generation.next();
    std::vector<float> logits(2048, 0.0f);
    logits[static_cast<std::size_t>(tokens[i])] = 1;
    generation.take(step.batches.at(0), step.batches.at(0).logit_rows, logits.data());
  }
  EXPECT_EQ(shown, ended.text);
  return ended;
}

TEST(Generation, AStopStringCountsFromMinTokensOnWhereItIsComplete) {
  GenerationRequest request;
  request.prompt = demo_tokenizer().encode("One");
  request.max_tokens = 6;
  request.stop_strings = {"cat said"};
  auto tokens = demo_tokenizer().encode("One the cat said the cat said");
  ASSERT_EQ(tokens.size(), 7u);
  tokens.erase(tokens.begin());
  const auto check = [&](std::int64_t min_tokens, const std::string& text, std::size_t num_tokens) {
    request.min_tokens = min_tokens;
    const Continuation result = continued(request, tokens);
    EXPECT_EQ(result.text, text);
    EXPECT_EQ(result.tokens.size(), num_tokens);
    EXPECT_EQ(result.finish_reason, FinishReason::kStop);
  };
  check(0, " the ", 3);
  check(3, " the ", 3);  // begins with the second, which may not stop
  check(4, " the cat said the ", 6);
  check(6, " the cat said the ", 6);
}

TEST(Generation, AContinuationBehindAnEndTokenKeepsItsSpace) {
  GenerationRequest request;
  request.prompt = demo_tokenizer().encode("One");
  request.max_tokens = 2;
  request.ignore_eos = true;
  const std::int32_t the = demo_tokenizer().encode("One the").back();
  EXPECT_EQ(continued(request, {kGrok1.eos_token, the}).text, " the");
}

}  // namespace
}  // namespace moesaic
