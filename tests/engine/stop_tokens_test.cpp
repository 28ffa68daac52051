#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/grok1.hpp"
#include "engine/generation.hpp"

namespace moesaic {
namespace {

using testing::ElementsAre;

/// What a greedy continuation becomes where the logits fall in the order 5, 2 (the end token), 6 and the others.
Continuation continuation(GenerationRequest request) {
  ModelConfig config = kGrok1;
  config.vocab_size = 8;
  config.sequence_len = 64;
  SchedulerOptions options;
  options.blocks_per_group = 8;
  request.prompt = {3, 4};
  request.max_tokens = 4;
  Generation generation(config, options, nullptr);
  generation.submit(std::move(request));
  for (Step step = generation.next(); !step.batches.empty(); step = generation.next())
    for (const TokenBatch& batch : step.batches) {
      const std::vector<float> logits = {0, 0, 2, 0, 0, 3, 1, 0};
      generation.take_logits(batch, batch.logit_rows, logits.data());
    }
  return std::get<RequestFinished>(generation.take_events().at(0).what).result;
}

TEST(StopTokens, EndAContinuationAndArePartOfIt) {
  const Continuation plain = continuation({});
  EXPECT_THAT(plain.tokens, ElementsAre(5, 5, 5, 5));
  EXPECT_EQ(plain.finish_reason, FinishReason::kLength);
  GenerationRequest request;
  request.stop_tokens = {5, 7};
  for (const bool ignore_eos : {false, true}) {
    request.ignore_eos = ignore_eos;
    EXPECT_THAT(continuation(request).tokens, ElementsAre(5));
    EXPECT_EQ(continuation(request).finish_reason, FinishReason::kStop);
  }
}

TEST(StopTokens, AreNotDrawnBeforeMinTokens) {
  GenerationRequest request;
  request.stop_tokens = {5, 7};
  request.min_tokens = 2;
  const Continuation result = continuation(request);
  EXPECT_THAT(result.tokens, ElementsAre(6, 6, 5));
  EXPECT_EQ(result.finish_reason, FinishReason::kStop);
}

}  // namespace
}  // namespace moesaic
