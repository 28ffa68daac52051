#include "engine/generation.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

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
  GenerationTest() {
    for (const std::int64_t size : {10, 7}) {
      GenerationRequest request;
      request.ticket = size;
      request.prompt.assign(static_cast<std::size_t>(size), 3);
      request.prompt[0] = static_cast<std::int32_t>(size % 8);
      request.max_tokens = 2;
      generation_.submit(request);
    }
  }
  /// Stands for the ranks. False: there was nothing to do.
  bool step() {
    const Step step = generation_.next();
    for (const TokenBatch& batch : step.batches) {
      const std::vector<float> logits(batch.logit_rows.size() * 8, 0.0f);
      generation_.take_logits(batch, batch.logit_rows, logits.data());
    }
    if (!step.batches.empty()) generation_.finish_step();
    return !step.batches.empty();
  }

  Generation generation_{small(), in_chunks(), nullptr};
};

TEST_F(GenerationTest, TokensOfPromptsCountAsTheyPass) {
  EXPECT_EQ(generation_.metrics().prompt_tokens, 0);
  std::int64_t before = 0;
  while (step()) {
    const std::int64_t now = generation_.metrics().prompt_tokens;
    EXPECT_LE(now - before, 4);
    before = now;
  }
  EXPECT_EQ(generation_.metrics().prompt_tokens, 17);
  EXPECT_EQ(generation_.metrics().drawn_tokens, 4);
}

TEST_F(GenerationTest, OfAStoppedRunOnlyThoseThatHavePassed) {
  ASSERT_TRUE(step());
  EXPECT_EQ(generation_.last().released.size(), 1u);
  ASSERT_FALSE(step());
  EXPECT_EQ(generation_.metrics().prompt_tokens, 4);
  EXPECT_EQ(generation_.metrics().num_used_blocks, 0);
  EXPECT_TRUE(generation_.take_events().empty());
}

TEST_F(GenerationTest, TellsWhatWaitsAndWhatRuns) {
  EXPECT_EQ(generation_.num_under_way(), 2);
  ASSERT_TRUE(step());
  const Metrics metrics = generation_.metrics();
  EXPECT_EQ(metrics.num_running, 1);
  EXPECT_EQ(metrics.num_queued, 1);
  EXPECT_EQ(metrics.num_used_blocks, 1);
  EXPECT_EQ(metrics.num_blocks, 8);
  EXPECT_EQ(metrics.num_steps, 1);
}

TEST_F(GenerationTest, ARequestIsCancelledWhereverItIs) {
  generation_.cancel(7);
  ASSERT_TRUE(step());
  generation_.cancel(10);
  generation_.cancel(10);  // has ended by then
  EXPECT_FALSE(step());
  std::vector<std::int64_t> ended;
  for (const Event& event : generation_.take_events()) {
    ended.push_back(event.ticket);
    EXPECT_EQ(std::get<RequestFinished>(event.what).result.finish_reason, FinishReason::kCancelled);
  }
  EXPECT_EQ(ended, (std::vector<std::int64_t>{7, 10}));
  EXPECT_EQ(generation_.metrics().num_used_blocks, 0);
  EXPECT_EQ(generation_.num_under_way(), 0);
}

TEST_F(GenerationTest, WhatCannotBeTakenUpFailsAlone) {
  while (step()) continue;
  generation_.take_events();
  std::vector<GenerationRequest> bad(6);
  for (GenerationRequest& request : bad) request.prompt = {3, 4};
  bad[0].prompt.clear();
  bad[1].prompt.assign(65, 3);  // longer than the context
  bad[2].prompt = {3, 8};       // not in the vocabulary
  bad[3].stop_tokens = {9};
  bad[4].sampling.logit_bias = {{-1, 1.0f}};
  bad[5].score_from = 2;
  for (std::size_t i = 0; i < bad.size(); ++i) {
    bad[i].ticket = static_cast<std::int64_t>(i) + 2;
    generation_.submit(bad[i]);
  }
  GenerationRequest good;
  good.ticket = 1;
  good.prompt = {3, 4};
  good.max_tokens = 1;
  generation_.submit(good);
  ASSERT_TRUE(step());
  const std::vector<Event> events = generation_.take_events();
  ASSERT_EQ(events.size(), bad.size() + 1);
  for (std::size_t i = 0; i < bad.size(); ++i) EXPECT_TRUE(std::holds_alternative<RequestFailed>(events[i].what)) << i;
  EXPECT_EQ(events.back().ticket, 1);
  EXPECT_TRUE(std::holds_alternative<RequestFinished>(events.back().what));
}

TEST(Generation, ARequestThatTheCacheCanNeverHoldFails) {
  ModelConfig config;
  config.vocab_size = 8;
  config.sequence_len = 1024;
  SchedulerOptions options;
  options.blocks_per_group = 2;
  Generation generation(config, options, nullptr);
  GenerationRequest request;
  request.prompt = {3, 4};
  for (const std::int64_t max_tokens : {127, 128}) {
    request.ticket = request.max_tokens = max_tokens;
    generation.submit(request);
  }
  EXPECT_FALSE(generation.next().batches.empty());
  const auto events = generation.take_events();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_NE(std::get<RequestFailed>(events[0].what).reason.find("up to 129 tokens"), std::string::npos);
}

const io::Tokenizer& demo_tokenizer() {
  static const io::Tokenizer tokenizer = [] {
    std::ifstream file(MOESAIC_TEST_DATA "/demo/tokenizer.model", std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    return io::Tokenizer::from_bytes(bytes, "the demo tokenizer");
  }();
  return tokenizer;
}

/// What a request gives that streams and whose most probable tokens are these, one after another.
Continuation continued(const GenerationRequest& request, const std::vector<std::int32_t>& tokens) {
  ModelConfig config = kGrok1;
  config.vocab_size = 2048;
  config.sequence_len = 64;
  SchedulerOptions options;
  options.blocks_per_group = 8;
  Continuation ended;
  std::string shown;
  Generation generation(config, options, &demo_tokenizer());
  generation.submit(request);
  for (std::size_t i = 0; i < tokens.size() && ended.finish_reason == FinishReason::kNone; ++i) {
    const Step step = generation.next();
    std::vector<float> logits(2048, 0.0f);
    logits[static_cast<std::size_t>(tokens[i])] = 1;
    generation.take_logits(step.batches.at(0), step.batches.at(0).logit_rows, logits.data());
    for (const Event& event : generation.take_events()) {
      if (const auto* added = std::get_if<TokenAdded>(&event.what)) shown += added->text;
      if (const auto* finished = std::get_if<RequestFinished>(&event.what)) {
        ended = finished->result;
        shown += finished->last_text;
      }
    }
  }
  EXPECT_EQ(shown, ended.text);
  return ended;
}

TEST(Generation, AStopStringCountsFromMinTokensOnWhereItIsComplete) {
  GenerationRequest request;
  request.prompt = demo_tokenizer().encode("One");
  request.max_tokens = 6;
  request.streams = true;
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
  request.ignore_eos = request.streams = true;
  const std::int32_t the = demo_tokenizer().encode("One the").back();
  EXPECT_EQ(continued(request, {kGrok1.eos_token, the}).text, " the");
}

}  // namespace
}  // namespace moesaic
