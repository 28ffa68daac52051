#include "plan/synthetic_load.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "models.hpp"

namespace moesaic::plan {
namespace {

constexpr std::int64_t kRows = 4000, kExperts = 32, kActive = 4;

struct Drawn {
  std::vector<std::int32_t> experts;
  std::vector<float> gates;
};

Drawn draw(const SyntheticLoad& load, const Grid& grid, std::int64_t step, std::int64_t num_rows = kRows) {
  const auto active = static_cast<std::size_t>(grid.config().num_selected_experts);
  Drawn drawn{std::vector<std::int32_t>(static_cast<std::size_t>(num_rows) * active), {}};
  drawn.gates.resize(drawn.experts.size());
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const auto at = static_cast<std::size_t>(row) * active;
    load.choose(grid, step, row, std::span(drawn.experts).subspan(at, active),
                std::span(drawn.gates).subspan(at, active));
  }
  return drawn;
}

/// Of a step's rows, by expert.
std::vector<std::int64_t> counts(const Drawn& drawn) {
  std::vector<std::int64_t> by_expert(kExperts);
  for (const std::int32_t expert : drawn.experts) ++by_expert[static_cast<std::size_t>(expert)];
  return by_expert;
}

class SyntheticLoads : public testing::Test {
 protected:
  const ModelConfig config_ = test::small_model(1, 8, kExperts, kActive);
  const Grid grid_{config_, {1, 16, 1, 8, 2}};
};

TEST_F(SyntheticLoads, ArePureFunctionsOfSeedStepAndRow) {
  for (const LoadKind kind : kAllLoadKinds) {
    EXPECT_EQ(load_from(name(kind)), kind);
    for (const std::int64_t step : {0, 3}) {
      const SyntheticLoad load{kind, 1.2, 2, 5};
      const Drawn drawn = draw(load, grid_, step), again = draw(load, grid_, step);
      EXPECT_EQ(drawn.experts, again.experts) << name(kind);
      EXPECT_EQ(drawn.gates, again.gates) << name(kind);
      EXPECT_EQ(load.group_rows(grid_, 7, step), load.group_rows(grid_, 7, step));
      EXPECT_NE(drawn.experts, draw({kind, 1.2, 2, 6}, grid_, step).experts) << name(kind);
      EXPECT_NE(drawn.experts, draw(load, grid_, step + 1).experts) << name(kind);
      for (std::size_t row = 0; row < kRows; ++row) {
        const std::span<const std::int32_t> experts(drawn.experts.data() + row * kActive, kActive);
        EXPECT_EQ(std::set(experts.begin(), experts.end()).size(), kActive) << "an expert twice";
        const std::span<const float> gates(drawn.gates.data() + row * kActive, kActive);
        EXPECT_TRUE(std::is_sorted(gates.rbegin(), gates.rend()) && gates.back() > 0 && gates.front() < 1);
      }
    }
  }
}

TEST_F(SyntheticLoads, HaveTheirShape) {
  const auto by_expert = [&](LoadKind kind, std::int64_t step = 0) { return counts(draw({kind}, grid_, step)); };
  const auto by_subset = [&](LoadKind kind) {
    std::vector<std::int64_t> sums(8);
    const auto list = by_expert(kind);
    for (std::size_t e = 0; e < kExperts; ++e) sums[e / 4] += list[e];
    std::sort(sums.begin(), sums.end());
    return sums;
  };
  const double mean = static_cast<double>(kRows * kActive) / kExperts;
  for (const LoadKind kind : {LoadKind::kUniform, LoadKind::kRagged, LoadKind::kBurst})
    for (const std::int64_t count : by_expert(kind))
      EXPECT_NEAR(static_cast<double>(count), mean, 6 * std::sqrt(mean)) << name(kind);

  auto zipf = counts(draw({LoadKind::kZipf, 1.5}, grid_, 0));
  std::sort(zipf.rbegin(), zipf.rend());
  EXPECT_GT(zipf[0], 4 * zipf[7]);
  EXPECT_GT(zipf[7], zipf[31]);

  const auto hottest = [&](LoadKind kind, std::int64_t step) {
    const auto list = by_expert(kind, step);
    const auto most = std::max_element(list.begin(), list.end());
    EXPECT_EQ(*most, kRows) << name(kind);
    return most - list.begin();
  };
  EXPECT_EQ(hottest(LoadKind::kHotExpert, 0), hottest(LoadKind::kHotExpert, 1));
  EXPECT_EQ((hottest(LoadKind::kRotating, 0) + 1) % kExperts, hottest(LoadKind::kRotating, 1));

  EXPECT_EQ(by_subset(LoadKind::kHotRank)[7], kRows * kActive);  // a subset has as many experts as a row chooses
  EXPECT_EQ(by_subset(LoadKind::kIncast)[5], 0);
  EXPECT_GT(by_subset(LoadKind::kIncast)[6], kRows);
  EXPECT_EQ(by_subset(LoadKind::kIdleRank)[0], 0);
  EXPECT_GT(by_subset(LoadKind::kIdleRank)[1], kRows / 4);
}

TEST_F(SyntheticLoads, RowsAreRaggedOrComeInBursts) {
  std::int64_t num_empty = 0, total = 0;
  constexpr std::int64_t kSteps = 200, kRowsARank = 30;
  for (std::int64_t step = 0; step < kSteps; ++step)
    for (const std::int64_t rows : SyntheticLoad{LoadKind::kRagged}.group_rows(grid_, kRowsARank, step)) {
      num_empty += rows == 0;
      total += rows;
    }
  EXPECT_NEAR(static_cast<double>(num_empty), kSteps * 16 / 4.0, 150);
  EXPECT_NEAR(static_cast<double>(total), kSteps * 16 * kRowsARank, 0.05 * kSteps * 16 * kRowsARank);
  const SyntheticLoad burst{LoadKind::kBurst};
  EXPECT_EQ(burst.group_rows(grid_, kRowsARank, 2)[0], kRowsARank / 3);
  EXPECT_EQ(burst.group_rows(grid_, kRowsARank, 3)[0], kRowsARank * 3);
  EXPECT_EQ((SyntheticLoad{}.group_rows(grid_, kRowsARank, 3)[5]), kRowsARank);
}

}  // namespace
}  // namespace moesaic::plan
