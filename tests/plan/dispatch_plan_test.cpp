#include "plan/dispatch_plan.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <set>

#include "models.hpp"
#include "plan/planner.hpp"

namespace moesaic::plan {
namespace {

std::vector<std::int32_t> random_routing(std::mt19937& random, const ModelConfig& config, std::int64_t num_rows) {
  std::vector<std::int32_t> all(static_cast<std::size_t>(config.num_experts)), routing;
  std::iota(all.begin(), all.end(), 0);
  const bool skewed = random() % 3 == 0;  // everybody wants the same experts
  for (std::int64_t row = 0; row < num_rows; ++row) {
    if (!skewed || row == 0) std::shuffle(all.begin(), all.end(), random);
    std::vector<std::int32_t> chosen(all.begin(), all.begin() + config.num_selected_experts);
    std::sort(chosen.begin(), chosen.end());
    routing.insert(routing.end(), chosen.begin(), chosen.end());
  }
  return routing;
}

/// Plays the exchange of all ranks with labels instead of rows: each (row, expert, slice) is computed exactly once, by
/// a holder of that slice, and its partial sum comes back to the place where the owner looks for it.
void expect_delivered(const Grid& grid, const RowMap& map, const std::vector<std::int32_t>& experts) {
  const auto active = grid.config().num_selected_experts;
  const int ranks = grid.ranks_per_stage(), etp = grid.layout().etp;
  struct Label {
    std::int64_t row;
    std::int32_t expert;
    int slice;
    auto operator<=>(const Label&) const = default;
  };
  std::vector<DispatchPlan> plans;
  for (int r = 0; r < ranks; ++r) plan_dispatch(grid, map, StageRank{r}, experts, plans.emplace_back());

  std::vector<std::vector<std::vector<Label>>> returned(static_cast<std::size_t>(ranks));  // [holder][owner]
  for (int holder = 0; holder < ranks; ++holder) {
    const DispatchPlan& plan = plans[static_cast<std::size_t>(holder)];
    std::vector<std::int64_t> received;  // rows, by source
    for (int source = 0; source < ranks; ++source) {
      const DispatchPlan& from = plans[static_cast<std::size_t>(source)];
      const auto counts = std::span(from.num_send_rows);
      ASSERT_EQ(counts[static_cast<std::size_t>(holder)], plan.num_recv_rows[static_cast<std::size_t>(source)]);
      const auto first = std::accumulate(counts.begin(), counts.begin() + holder, 0);
      for (int i = 0; i < counts[static_cast<std::size_t>(holder)]; ++i)
        received.push_back(map.rows(StageRank{source}).begin + from.send_rows[static_cast<std::size_t>(first + i)]);
    }
    EXPECT_EQ(std::set(received.begin(), received.end()).size(), received.size()) << "a row goes to a rank once";
    const Range local = grid.experts(grid.subset(StageRank{holder}));
    ASSERT_EQ(std::ssize(plan.psum_expert_rows), local.size() + 1);
    std::vector<Label> batch(plan.expert_rows.size());
    for (std::int64_t e = 0; e < local.size(); ++e)
      for (auto i = plan.psum_expert_rows[static_cast<std::size_t>(e)];
           i < plan.psum_expert_rows[static_cast<std::size_t>(e) + 1]; ++i)
        batch[static_cast<std::size_t>(i)] = {
            received[static_cast<std::size_t>(plan.expert_rows[static_cast<std::size_t>(i)])],
            static_cast<std::int32_t>(local.begin + e), grid.slice(StageRank{holder})};
    auto& back = returned[static_cast<std::size_t>(holder)];
    std::size_t next = 0;
    for (int owner = 0; owner < ranks; ++owner) {
      auto& list = back.emplace_back();
      for (int i = 0; i < plan.num_return_rows[static_cast<std::size_t>(owner)]; ++i)
        list.push_back(batch[static_cast<std::size_t>(plan.return_rows[next++])]);
    }
    EXPECT_EQ(next, plan.return_rows.size());
  }
  for (int owner = 0; owner < ranks; ++owner) {
    const DispatchPlan& plan = plans[static_cast<std::size_t>(owner)];
    std::vector<Label> terms;
    for (int holder = 0; holder < ranks; ++holder) {
      const auto& list = returned[static_cast<std::size_t>(holder)][static_cast<std::size_t>(owner)];
      ASSERT_EQ(std::ssize(list), plan.num_terms[static_cast<std::size_t>(holder)]);
      terms.insert(terms.end(), list.begin(), list.end());
    }
    const Range own = map.rows(StageRank{owner});
    ASSERT_EQ(std::ssize(terms), own.size() * active * etp);
    for (std::int64_t row = own.begin; row < own.end; ++row)
      for (std::int64_t a = 0; a < active; ++a)
        for (int slice = 0; slice < etp; ++slice) {
          const Label expected{row, experts[static_cast<std::size_t>(row * active + a)], slice};
          const auto at = plan.term_of[static_cast<std::size_t>(((row - own.begin) * active + a) * etp + slice)];
          ASSERT_EQ(terms[static_cast<std::size_t>(at)], expected);
        }
  }
}

TEST(DispatchPlan, EveryTermIsComputedOnceAndComesBack) {
  std::mt19937 random(7);
  const ModelConfig models[] = {test::small_model(2, 8, 8, 2), test::small_model(2, 4, 16, 4),
                                test::small_model(2, 1, 4, 1), test::small_model(2, 8, 3, 3)};
  for (const ModelConfig& config : models)
    for (int ranks = 1; ranks <= 24; ++ranks)
      for (const Layout& layout : all_layouts(config, ranks)) {
        if (layout.pp != 1) continue;
        SCOPED_TRACE(layout.text());
        const Grid grid(config, layout);
        std::vector<std::int64_t> counts(static_cast<std::size_t>(layout.dp));
        for (auto& count : counts) count = random() % 4 == 0 ? 0 : static_cast<std::int64_t>(random() % 9);
        const RowMap map(grid, counts);
        expect_delivered(grid, map, random_routing(random, config, map.num_rows()));
      }
}

TEST(DispatchPlan, At1024Ranks) {
  std::mt19937 random(11);
  ModelConfig config = test::small_model(2, 8, 128, 4);
  for (const Layout layout : {Layout{1, 128, 8, 128, 8}, Layout{1, 1024, 1, 128, 8}}) {
    const Grid grid(config, layout);
    const RowMap map(grid, std::vector<std::int64_t>(static_cast<std::size_t>(layout.dp), 1));
    expect_delivered(grid, map, random_routing(random, config, map.num_rows()));
  }
}

}  // namespace
}  // namespace moesaic::plan
