#include "engine/generation.hpp"

#include <gtest/gtest.h>

namespace moesaic {
namespace {

/// Two prompts that pass in chunks of 4 tokens, a chunk a step.
class GenerationTest : public testing::Test {
 protected:
  static ModelConfig small() {
    ModelConfig config;
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

}  // namespace
}  // namespace moesaic
