#include "plan/grid.hpp"

#include <gtest/gtest.h>

#include "models.hpp"
#include "plan/planner.hpp"
#include "plan/row_map.hpp"

namespace moesaic::plan {
namespace {

/// Every layer, kv head, leaf, expert and row of the vocabulary has exactly one owner where it must.
void expect_owned_once(const ModelConfig& config, const Layout& layout) {
  SCOPED_TRACE(layout.text());
  const Grid grid(config, layout);
  IdVector<ModelLayer, int> layers(config.num_layers);
  for (const StageId stage : grid.stages()) {
    EXPECT_GE(grid.layers(stage).size(), 1);
    for (const ModelLayer layer : grid.layers(stage)) ++layers[layer];
    EXPECT_EQ(grid.in_model(stage, StageLayer(0)), grid.layers(stage)[0]);
  }
  EXPECT_EQ(layers, (IdVector<ModelLayer, int>(layers.size(), 1)));

  std::vector<int> experts_times_leaves(static_cast<std::size_t>(config.num_experts * kNumLeaves));
  std::vector<int> vocabulary(static_cast<std::size_t>(config.vocab_size));
  std::vector<int> heads(static_cast<std::size_t>(layout.dp * config.num_kv_heads));
  for (const StageRank rank : grid.ranks()) {
    EXPECT_EQ(grid.member(grid.group(rank), grid.shard(rank)), rank);
    EXPECT_EQ(grid.holder(grid.subset(rank), grid.slice(rank)), rank);
    const IdRange<ExpertId> experts = grid.home_experts(grid.subset(rank));
    const Range leaves = grid.expert_leaves()[grid.slice(rank)];
    EXPECT_GE(experts.size(), 1);
    for (const ExpertId e : experts) {
      EXPECT_EQ(grid.home_subset(e), grid.subset(rank));
      for (auto l = leaves.begin; l < leaves.end; ++l)
        ++experts_times_leaves[static_cast<std::size_t>(e.value() * kNumLeaves + l)];
    }
    const Range rows = grid.vocabulary(rank);
    for (auto v = rows.begin; v < rows.end; ++v) ++vocabulary[static_cast<std::size_t>(v)];
    const Range kv = grid.kv_heads(grid.shard(rank));
    EXPECT_GE(kv.size(), 1);
    for (auto h = kv.begin; h < kv.end; ++h)
      ++heads[static_cast<std::size_t>(grid.group(rank).value() * config.num_kv_heads + h)];
  }
  EXPECT_EQ(experts_times_leaves, std::vector<int>(experts_times_leaves.size(), 1));
  EXPECT_EQ(vocabulary, std::vector<int>(vocabulary.size(), 1));
  EXPECT_EQ(heads, std::vector<int>(heads.size(), 1));
}

TEST(Grid, EverythingIsOwnedOnceInEveryLayout) {
  const ModelConfig models[] = {test::small_model(12, 8, 8, 2), test::small_model(3, 3, 16, 4, 777),
                                test::small_model(2, 2, 8, 2), test::small_model(5, 4, 4, 1, 64),
                                test::small_model(21, 1, 3, 2, 97)};
  for (const ModelConfig& config : models)
    for (int ranks = 1; ranks <= 48; ++ranks)
      for (const Layout& layout : all_layouts(config, ranks)) expect_owned_once(config, layout);
}

TEST(Grid, UpTo1024Ranks) {
  const ModelConfig grok = kGrok1;
  for (const int ranks : {64, 96, 168, 512, 640, 896, 1024})
    for (const Layout& layout : all_layouts(grok, ranks)) {
      EXPECT_EQ(layout.ranks(), ranks);
      EXPECT_EQ(layout.dp * layout.tp, layout.ep * layout.etp);
      if (layout.tp == 8 || layout.tp == 1) expect_owned_once(grok, layout);
    }
}

TEST(Grid, RowsAreOwnedOnceAndEvenly) {
  const Grid grid(test::small_model(2, 8, 8, 2), {1, 2, 4, 8, 1});
  for (const auto& counts : {std::vector<std::int64_t>{0, 0}, {1, 0}, {0, 5}, {7, 3}, {100, 101}}) {
    const RowMap map(grid, counts);
    EXPECT_EQ(map.num_rows(), counts[0] + counts[1]);
    std::int64_t next = 0;
    for (const StageRank rank : grid.ranks()) {
      const Range rows = map.rows(rank);
      EXPECT_EQ(rows.begin, next);
      next = rows.end;
      const std::int64_t group_size = counts[grid.group(rank).index()];
      EXPECT_GE(rows.size(), group_size / 4);
      EXPECT_LE(rows.size(), (group_size + 3) / 4);
    }
    EXPECT_EQ(next, map.num_rows());
  }
}

TEST(Grid, ShardsFollowHeadsAndLeaves) {
  EXPECT_EQ(attention_units(test::small_model(1, 8, 8, 2)), 8);
  EXPECT_EQ(attention_units(test::small_model(1, 4, 8, 2)), 4);
  EXPECT_EQ(attention_units(test::small_model(1, 12, 8, 2)), 4);
  EXPECT_EQ(attention_units(test::small_model(1, 7, 8, 2)), 1);
  const Grid uneven(test::small_model(1, 8, 8, 2), {1, 1, 3, 3, 1});
  EXPECT_EQ(uneven.kv_heads(ShardId(0)), (Range{0, 2}));
  EXPECT_EQ(uneven.kv_heads(ShardId(2)), (Range{4, 8}));
}

}  // namespace
}  // namespace moesaic::plan
