#include "engine/sampler.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

namespace moesaic {
namespace {

std::int32_t draw(const std::vector<float>& logits, const SamplingOptions& options, DrawPoint point = {},
                  const std::vector<std::int32_t>& history = {}) {
  return sample(logits, options, history, point);
}

/// How often each id is drawn over many positions.
std::map<std::int32_t, double> frequencies(const std::vector<float>& logits, const SamplingOptions& options) {
  constexpr int kDraws = 20000;
  std::map<std::int32_t, double> counts;
  for (int i = 0; i < kDraws; ++i) counts[draw(logits, options, {3, static_cast<std::uint64_t>(i)})] += 1.0 / kDraws;
  return counts;
}

TEST(Philox, KnownAnswers) {
  // Random123's kat_vectors for philox4x32 with 10 rounds.
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (std::array<std::uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t f = 0xffffffff;
  EXPECT_EQ(philox4x32({f, f, f, f}, {f, f}),
            (std::array<std::uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (std::array<std::uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Sampler, TemperatureZeroTakesTheLowestOfTheLargest) {
  EXPECT_EQ(draw({1, 3, 3, 2}, {}), 1);
  EXPECT_EQ(draw({-1, -3, -0.5f}, {}), 2);
}

TEST(Sampler, RepetitionPenaltyDividesPositiveAndMultipliesNegative) {
  SamplingOptions options;
  options.repetition_penalty = 2;
  EXPECT_EQ(draw({3, 2, 1}, options, {}, {0, 0}), 1);  // 1.5 once, not twice
  EXPECT_EQ(draw({-1, -1.5f}, options, {}, {0}), 1);   // -2
  EXPECT_EQ(draw({3, 1}, options, {}, {0}), 0);
}

TEST(Sampler, FrequenciesFollowTheSoftmax) {
  SamplingOptions options;
  options.temperature = 2;
  const std::vector<float> logits = {0, 2, 4, -200};
  const double total = 1 + std::exp(1) + std::exp(2);
  const auto counts = frequencies(logits, options);
  EXPECT_NEAR(counts.at(0), 1 / total, 0.02);
  EXPECT_NEAR(counts.at(1), std::exp(1) / total, 0.02);
  EXPECT_NEAR(counts.at(2), std::exp(2) / total, 0.02);
  EXPECT_FALSE(counts.contains(3));
}

TEST(Sampler, TopKKeepsLowerIdsOfEqualLogits) {
  SamplingOptions options;
  options.temperature = 1;
  options.top_k = 2;
  const auto counts = frequencies({1, 5, 1, 1}, options);
  EXPECT_TRUE(counts.contains(0));
  EXPECT_FALSE(counts.contains(2));
  EXPECT_FALSE(counts.contains(3));
}

TEST(Sampler, TopPKeepsEverythingFromTheThresholdOn) {
  SamplingOptions options;
  options.temperature = 1;
  const std::vector<float> logits = {std::log(0.1f), std::log(0.2f), std::log(0.2f), std::log(0.5f)};
  options.top_p = 0.6f;  // ascending, 1 - p = 0.4 is reached at the second 0.2; the other has the same logit
  auto counts = frequencies(logits, options);
  EXPECT_FALSE(counts.contains(0));
  EXPECT_TRUE(counts.contains(1));
  EXPECT_TRUE(counts.contains(2));
  options.top_p = 0.3f;
  counts = frequencies(logits, options);
  EXPECT_EQ(counts.size(), 1u);
  EXPECT_TRUE(counts.contains(3));
}

TEST(Sampler, TheSmallestTemperatureIsGreedy) {
  SamplingOptions options;
  options.temperature = 1e-6f;
  options.repetition_penalty = 1e-6f;
  EXPECT_EQ(draw({-30, 12.5f, 12, 3}, options), 1);
  options.top_p = 0.5f;
  EXPECT_EQ(draw({-30, 12.5f, 12, 3}, options), 1);
  EXPECT_EQ(draw({-30, 12.5f, 12, 3}, options, {}, {3}), 3);
}

TEST(Sampler, ADrawDependsOnSeedSequenceAndPositionAlone) {
  EXPECT_EQ(uniform(1, {2, 3}), uniform(1, {2, 3}));
  EXPECT_NE(uniform(1, {2, 3}), uniform(1, {3, 2}));
  EXPECT_NE(uniform(1, {2, 3}), uniform(2, {2, 3}));
  EXPECT_NE(uniform(1, {2, 3}), uniform(1ull << 32, {2, 3}));
  for (std::uint64_t i = 0; i < 1000; ++i) {
    EXPECT_GE(uniform(i, {i, i}), 0);
    EXPECT_LT(uniform(i, {i, i}), 1);
  }
}

}  // namespace
}  // namespace moesaic
