#include "engine/sampler.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <thread>

#include "engine/sort_floats.hpp"
#include "slow_sampler.hpp"

namespace moesaic {
namespace {

std::int32_t draw(const std::vector<float>& logits, const SamplingOptions& options, DrawPoint point = {},
                  const std::vector<std::int32_t>& history = {}) {
  return sample(logits, options, {history, history.size()}, point);
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

TEST(Sampler, ADrawOfAnotherChoiceIsAnotherOne) {
  EXPECT_EQ(uniform(1, {2, 3}), uniform(1, {2, 3, 0}));
  EXPECT_NE(uniform(1, {2, 3, 0}), uniform(1, {2, 3, 1}));
  // What they were before there were choices.
  EXPECT_EQ(uniform(1, {2, 3}), static_cast<float>(philox4x32({2, 0, 3, 0}, {1, 0})[0] >> 8) * 0x1p-24f);
}

TEST(Sampler, FrequencyAndPresencePenaltiesSeeTheContinuationAlone) {
  SamplingOptions options;
  options.presence_penalty = 1.5f;
  const std::vector<float> logits = {3, 2, 1};
  const std::vector<std::int32_t> tokens = {0, 0, 0, 1};
  EXPECT_EQ(sample(logits, options, {tokens, 4}, {}), 0);
  EXPECT_EQ(sample(logits, options, {tokens, 3}, {}), 0);
  EXPECT_EQ(sample(logits, options, {tokens, 2}, {}), 0);  // 1.5, 0.5, 1
  options.presence_penalty = 0;
  options.frequency_penalty = 1;
  EXPECT_EQ(sample(logits, options, {tokens, 2}, {}), 0);  // 2, 1, 1
  EXPECT_EQ(sample(logits, options, {tokens, 0}, {}), 1);  // 0, 1, 1
}

TEST(Sampler, PenaltiesAreRoundedOneAfterTheOther) {
  SamplingOptions options;
  options.frequency_penalty = options.presence_penalty = 0x1p-25f;  // each is rounded away, their sum is not
  const std::vector<std::int32_t> tokens = {0};
  EXPECT_EQ(sample(std::vector<float>{1, 1}, options, {tokens, 0}, {}), 0);
}

TEST(Sampler, TopPStopsWhereTheSumIsExactlyReached) {
  const std::vector<float> logits = {0, 1.4f, 1.5f};
  const float w0 = math::exp_f32(0 - 1.5f), w1 = math::exp_f32(1.4f - 1.5f), total = (w0 + w1) + math::exp_f32(0);
  const float cumulative = w0 / total + w1 / total;
  SamplingOptions options;
  options.temperature = 1;
  options.top_p = 1 - cumulative;
  ASSERT_EQ(1 - options.top_p, cumulative);
  EXPECT_EQ(frequencies(logits, options).size(), 2u);
}

TEST(Sampler, LogitBiasIsAddedAndBannedTokensAreNeverDrawn) {
  SamplingOptions options;
  options.logit_bias = {{2, 5}};
  const std::vector<float> logits = {3, 2, 1};
  EXPECT_EQ(sample(logits, options, {}, {}), 2);
  const std::vector<std::int32_t> banned = {0, 2};
  EXPECT_EQ(sample(logits, options, {}, {}, banned), 1);
  options.temperature = 1e6f;
  for (std::uint64_t i = 0; i < 100; ++i) EXPECT_EQ(sample(logits, options, {}, {0, i}, banned), 1);
  EXPECT_THROW(sample(logits, options, {}, {}, std::vector<std::int32_t>{0, 1, 2}), std::logic_error);
}

TEST(Sampler, MinPDropsWhatIsFarLessProbableThanTheFirst) {
  SamplingOptions options;
  options.temperature = 1;
  options.min_p = 0.3f;
  const auto counts = frequencies({std::log(0.1f), std::log(0.25f), std::log(0.65f)}, options);
  EXPECT_FALSE(counts.contains(0));
  EXPECT_TRUE(counts.contains(1));
  options.min_p = 1;
  EXPECT_EQ(frequencies({1, 2, 3}, options).size(), 1u);
}

/// Random rows, options and histories, many with ties, zeros of both signs or logits far apart.
struct RandomCase {
  std::vector<float> logits;
  SamplingOptions options;
  std::vector<std::int32_t> tokens, banned;
  std::size_t num_prompt = 0;
  DrawPoint point;

  RandomCase(std::mt19937_64& random, std::int32_t vocab_size) {
    const auto one_of = [&](auto... values) {
      const std::common_type_t<decltype(values)...> list[] = {values...};
      return list[random() % sizeof...(values)];
    };
    const auto id = [&] { return static_cast<std::int32_t>(random() % static_cast<std::uint64_t>(vocab_size)); };
    std::normal_distribution<float> normal(0, one_of(0.1f, 3.0f, 60.0f));
    const float step = one_of(0.0f, 0.25f, 2.0f);
    for (std::int32_t i = 0; i < vocab_size; ++i) {
      const float logit = normal(random);
      logits.push_back(step > 0 ? std::round(logit / step) * step : logit);
    }
    options.temperature = one_of(0.0f, 0.7f, 1.0f, 1.0f, 3.0f, 1e-6f, 1e6f);
    options.top_k = one_of(0, 0, 1, 7, 40, vocab_size / 2, vocab_size - 1, vocab_size + 5);
    options.top_p = one_of(1.0f, 0.95f, 0.9f, 0.5f, 0.01f, 0.999f);
    options.min_p = one_of(0.0f, 0.0f, 0.05f, 0.5f, 1.0f);
    options.repetition_penalty = one_of(1.0f, 1.0f, 1.3f, 0.5f);
    options.presence_penalty = one_of(0.0f, 0.0f, 0.5f, -2.0f);
    options.frequency_penalty = one_of(0.0f, 0.0f, 0.3f, 2.0f);
    options.seed = random();
    for (std::int32_t i = one_of(0, 0, 3); i > 0; --i)
      if (options.logit_bias.empty() || options.logit_bias.back().first > i)
        options.logit_bias.emplace_back(i, one_of(-100.0f, -1.5f, 2.0f, 100.0f));
    for (std::size_t i = random() % 20; i > 0; --i) tokens.push_back(id());
    num_prompt = random() % (tokens.size() + 1);
    if (random() % 3 == 0) banned = {0, vocab_size / 2};
    point = {random(), random() % 1000, static_cast<std::uint32_t>(random() % 4)};
  }
  std::int32_t fast() const { return sample(logits, options, {tokens, num_prompt}, point, banned); }
  std::int32_t slow() const { return slow::sample(logits, options, {tokens, num_prompt}, point, banned); }
};

TEST(Sampler, DrawsWhatTheSlowDefinitionDraws) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 6000; ++i) {
    const auto vocab_size = static_cast<std::int32_t>(4 + random() % (i % 10 == 0 ? 5000 : 300));
    const RandomCase random_case(random, vocab_size);
    ASSERT_EQ(random_case.fast(), random_case.slow()) << "case " << i;
  }
  for (int i = 0; i < 12; ++i) {
    const RandomCase random_case(random, 131072);
    ASSERT_EQ(random_case.fast(), random_case.slow()) << "large case " << i;
  }
}

TEST(Sampler, ThreadsDrawTheSame) {
  std::mt19937_64 random(2);
  std::vector<RandomCase> cases;
  for (int i = 0; i < 200; ++i) cases.emplace_back(random, 500);
  std::vector<std::int32_t> drawn[3];
  std::vector<std::thread> threads;
  for (auto& mine : drawn)
    threads.emplace_back([&] {
      for (const RandomCase& random_case : cases) mine.push_back(random_case.fast());
    });
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < cases.size(); ++i)
    for (const auto& mine : drawn) EXPECT_EQ(mine[i], cases[i].slow());
}

TEST(SortFloats, SortsAndSelectsAsTheStandardLibraryDoes) {
  std::mt19937_64 random(3);
  SortBuffers buffers;
  for (const std::size_t size : {1u, 2u, 1000u, 1024u, 1025u, 70000u}) {
    std::vector<float> values;
    for (std::size_t i = 0; i < size; ++i) {
      float value = 0;
      do value = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
      while (!std::isfinite(value));
      values.push_back(i % 3 == 0 ? std::round(std::fmod(value, 3.0f)) : value);  // ties, and zeros of both signs
    }
    std::vector<float> expected = values;
    std::sort(expected.begin(), expected.end());
    for (const std::size_t k : {std::size_t{1}, size / 2 + 1, size})
      EXPECT_EQ(kth_largest(values, k, buffers), expected[size - k]);
    sort_ascending(values, buffers);
    EXPECT_EQ(values, expected);
  }
}

}  // namespace
}  // namespace moesaic
