#include "model/log_probs.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace moesaic {
namespace {

std::vector<float> random_row(std::uint64_t seed, std::size_t vocab_size, float deviation) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> row(vocab_size);
  for (float& logit : row) logit = normal(random);
  return row;
}

/// log p in extended precision.
long double exact_log_prob(const std::vector<float>& row, std::size_t id) {
  const long double max = *std::max_element(row.begin(), row.end());
  long double sum = 0;
  for (const float logit : row) sum += std::exp(logit - max);
  return (row[id] - max) - std::log(sum);
}

TEST(LogProbs, AgreeWithExtendedPrecision) {
  for (const float deviation : {0.01f, 2.0f, 40.0f})
    for (const std::size_t vocab_size : {1u, 63u, 64u, 65u, 131072u}) {
      const auto row = random_row(vocab_size, vocab_size, deviation);
      const RowSum sum = row_sum(row);
      // A block's sum: 63 additions and exp's 2 ulp, all relative to a sum of positive terms.
      const double bound = 66 * 0x1p-24 * 2;
      for (const std::size_t id : {std::size_t{0}, vocab_size / 2, vocab_size - 1})
        EXPECT_NEAR(log_prob(row[id], sum), static_cast<double>(exact_log_prob(row, id)), bound) << vocab_size;
      EXPECT_EQ(sum.argmax, std::max_element(row.begin(), row.end()) - row.begin());
    }
}

TEST(LogProbs, DoNotDependOnWhoComputedTheBlocks) {
  const auto row = random_row(7, 64 * 9 + 10, 5);
  const RowSum whole = row_sum(row);
  for (const std::size_t cut : {0u, 64u, 320u, 576u}) {
    std::vector<BlockSum> sums;
    block_sums(std::span(row).first(cut), 0, sums);
    block_sums(std::span(row).subspan(cut), static_cast<std::int32_t>(cut), sums);
    const RowSum parts = combine(sums);
    EXPECT_EQ(parts.max, whole.max);
    EXPECT_EQ(parts.log_sum, whole.log_sum);
    EXPECT_EQ(parts.argmax, whole.argmax);
  }
  std::vector<BlockSum> sums;
  EXPECT_THROW(block_sums(row, 32, sums), std::logic_error);
}

TEST(LogProbs, TiesGoToTheLowerId) {
  std::vector<float> row(200, 1.0f);
  row[150] = row[70] = row[71] = 3;
  const RowSum sum = row_sum(row);
  EXPECT_EQ(sum.argmax, 70);
  const auto top = top_log_probs(row, 5, sum);
  std::vector<std::int32_t> ids;
  for (const TokenLogProb& token : top) ids.push_back(token.id);
  EXPECT_EQ(ids, (std::vector<std::int32_t>{70, 71, 150, 0, 1}));
  EXPECT_EQ(top[0].log_prob, log_prob(3, sum));
  EXPECT_TRUE(top_log_probs(row, 0, sum).empty());
  EXPECT_EQ(top_log_probs(row, 500, sum).size(), 200u);
}

TEST(LogProbs, TopTokensAreThoseOfASort) {
  auto row = random_row(8, 5000, 3);
  for (float& logit : row) logit = std::round(logit * 4) / 4;
  std::vector<std::int32_t> ids(row.size());
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i);
  std::stable_sort(ids.begin(), ids.end(), [&](std::int32_t a, std::int32_t b) {
    return row[static_cast<std::size_t>(a)] > row[static_cast<std::size_t>(b)];
  });
  const auto top = top_log_probs(row, 20, row_sum(row));
  for (std::size_t i = 0; i < top.size(); ++i) EXPECT_EQ(top[i].id, ids[i]);
}

TEST(LogProbs, LogitsFarApartAreFinite) {
  const std::vector<float> row = {-1e14f, 0, 1e14f};
  const RowSum sum = row_sum(row);
  EXPECT_NEAR(log_prob(1e14f, sum), 0, 1e-6);
  EXPECT_EQ(log_prob(-1e14f, sum), static_cast<double>(-1e14f) - static_cast<double>(1e14f));
}

}  // namespace
}  // namespace moesaic
