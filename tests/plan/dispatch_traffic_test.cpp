#include "plan/dispatch_traffic.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "models.hpp"
#include "plan/synthetic_load.hpp"

namespace moesaic::plan {
namespace {

constexpr std::int64_t kWidth = 64;
constexpr PieceSizes kPieces = {2 * kWidth, 4 * kWidth};

Domains nodes_of_size(int ranks, int size) {
  std::vector<int> ids;
  for (int rank = 0; rank < ranks; ++rank) ids.push_back(rank / size);
  return Domains(ids);
}

/// Rows that cross between nodes, by row of the stage.
double copies(const DispatchTraffic& traffic, const Domains& nodes, std::int64_t num_rows) {
  std::int64_t rows = 0;
  for (const StageRank from : nodes.ranks())
    for (const StageRank to : nodes.ranks())
      if (nodes.domain(from) != nodes.domain(to)) rows += traffic.dispatch.rows[traffic.dispatch.at(from, to)];
  return static_cast<double>(rows) / static_cast<double>(num_rows);
}

// An expert's slices share a node: 1 + 4/7, 1 + 6/7 and 2 nodes a row, a half, a quarter and an eighth of them its own.
TEST(DispatchTraffic, HierSendsTheKnownCopiesPerToken) {
  const ModelConfig config = test::small_model(1, 8, 8, 2);
  const RowMessage message{2 * kWidth, 2};
  constexpr struct {
    int nodes;
    double copies;
  } kKnown[] = {{2, 0.786}, {4, 1.393}, {8, 1.75}};
  for (const int ranks : {8, 16, 32, 64})
    for (const auto& known : kKnown) {
      const Grid grid(config, {1, ranks, 1, 8, ranks / 8});
      const Domains nodes = nodes_of_size(ranks, ranks / known.nodes);
      const DispatchSetting setting(grid, nodes, kPieces);
      SCOPED_TRACE(fmt::format("{} ranks, {} nodes", ranks, known.nodes));

      std::vector<std::int32_t> pairs;  // each pair of experts once on every rank: exact
      for (int rank = 0; rank < ranks; ++rank)
        for (std::int32_t a = 0; a < 8; ++a)
          for (std::int32_t b = a + 1; b < 8; ++b) pairs.insert(pairs.end(), {a, b});
      const RowMap all_pairs(grid, std::vector<std::int64_t>(static_cast<std::size_t>(ranks), 28));
      EXPECT_NEAR(copies(dispatch_traffic(setting, DispatchAlgorithm::kHier, all_pairs, message, pairs), nodes,
                         all_pairs.num_rows()),
                  known.copies, 0.0005);

      const SyntheticLoad load;
      const RowMap rows(grid, load.group_rows(grid, 2048 * 8 / ranks, 0));
      std::vector<std::int32_t> experts(static_cast<std::size_t>(2 * rows.num_rows()));
      float gates[2];
      for (std::int64_t row = 0; row < rows.num_rows(); ++row)
        load.choose(grid, 0, row, std::span(experts).subspan(static_cast<std::size_t>(2 * row), 2), gates);
      EXPECT_NEAR(
          copies(dispatch_traffic(setting, DispatchAlgorithm::kHier, rows, message, experts), nodes, rows.num_rows()),
          known.copies, 0.01 * known.copies);
    }
}

// What the plans of all ranks say is what the rule says, for 1,024 ranks too.
TEST(DispatchTraffic, IsWhatOwnersPlan) {
  for (const int ranks : {4, 12, 1024}) {
    const ModelConfig config = test::small_model(1, 8, ranks == 12 ? 7 : 128, 4);
    const Layout layout = ranks == 4    ? Layout{1, 2, 2, 4, 1}
                          : ranks == 12 ? Layout{1, 12, 1, 3, 4}
                                        : Layout{1, 1024, 1, 128, 8};
    const Grid grid(config, layout);
    const SyntheticLoad load{LoadKind::kRagged, 1, 2, 9};
    const RowMap rows(grid, load.group_rows(grid, 3, 1));
    std::vector<std::int32_t> experts(static_cast<std::size_t>(4 * rows.num_rows()));
    std::vector<float> gates(4);
    for (std::int64_t row = 0; row < rows.num_rows(); ++row) {
      const auto choice = std::span(experts).subspan(static_cast<std::size_t>(4 * row), 4);
      load.choose(grid, 1, row, choice, gates);
      std::sort(choice.begin(), choice.end());
    }
    for (const int node_ranks : {1, 3, 8}) {
      const DispatchSetting setting(grid, nodes_of_size(ranks, node_ranks), kPieces);
      const RowMessage message{100, 4};
      const auto algorithm = node_ranks == 1 ? DispatchAlgorithm::kFlat : DispatchAlgorithm::kHier;
      const DispatchTraffic traffic = dispatch_traffic(setting, algorithm, rows, message, experts);
      OwnerPlan plan;
      for (const StageRank owner : grid.ranks()) {
        const Range own = rows.rows(owner);
        plan_owner(setting, owner,
                   std::span(experts).subspan(static_cast<std::size_t>(4 * own.begin),
                                              static_cast<std::size_t>(4 * own.size())),
                   plan);
        for (const DomainId domain : setting.domains.ids()) {
          if (domain == setting.domains.domain(owner)) continue;
          const StageRank relay = setting.domains.relay(domain, owner);
          const std::size_t sent = own.empty() ? 0 : message.size_bytes(std::ssize(plan.send_rows[domain]));
          ASSERT_EQ(traffic.dispatch.bytes[traffic.dispatch.at(owner, relay)], sent);
          ASSERT_EQ(traffic.combine.bytes[traffic.combine.at(relay, owner)], plan.stream_bytes[domain]);
        }
      }
    }
  }
}

TEST(DispatchTraffic, CountsTermsAndLogicalBytes) {
  const ModelConfig config = test::small_model(1, 8, 4, 2);
  const Grid grid(config, {1, 4, 1, 2, 2});
  const std::vector<std::int32_t> experts = {0, 1, 2, 0};  // two rows of rank 1; subset 0 has 0 and 1
  const RowMap rows(grid, std::vector<std::int64_t>{0, 2, 0, 0});
  EXPECT_EQ(terms_of_ranks(grid, experts), (IdVector<StageRank, std::int64_t>({3, 3, 1, 1})));
  const DispatchTraffic logical = logical_traffic(DispatchSetting(grid, Domains::alone(4), kPieces), rows, 10, experts);
  const auto sum = [](const auto& list) { return std::accumulate(list.begin(), list.end(), std::uint64_t{0}); };
  EXPECT_EQ(sum(logical.dispatch.bytes), 6 * 10u);  // both rows to both holders of subset 0, one to those of subset 1
  EXPECT_EQ(logical.dispatch.bytes[logical.dispatch.at(StageRank{1}, StageRank{1})], 20u);
  EXPECT_EQ(sum(logical.combine.bytes), 8 * kPieces.partial);
}

}  // namespace
}  // namespace moesaic::plan
