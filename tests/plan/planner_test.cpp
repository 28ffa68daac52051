#include "plan/planner.hpp"

#include <gtest/gtest.h>

#include "models.hpp"
#include "plan/footprint.hpp"

namespace moesaic::plan {
namespace {

constexpr Arithmetic kArithmetic{WeightFormat::kInt8, Numerics::kW8A16};

TEST(Planner, EveryCountOfTheFormWorks) {
  const ModelConfig config = test::small_model(12, 8, 8, 2);
  for (int pp = 1; pp <= 12; ++pp)
    for (int ep = 1; ep <= 8; ++ep)
      for (int etp = 1; etp <= 8; ++etp) {
        const PlanResult result = choose_layout(config, {pp * ep * etp, {}, {}, {}, {}, {}}, kArithmetic);
        ASSERT_TRUE(result.choice) << result.refusal.message();
        EXPECT_EQ(broken_rule(config, result.choice->layout), "");
        EXPECT_EQ(result.choice->layout.ranks(), pp * ep * etp);
      }
}

TEST(Planner, KeepsWhatIsAsked) {
  const ModelConfig config = test::small_model(12, 8, 8, 2);
  LayoutRequest request{6, {}, {}, {}, {}, {}};
  request.ep = 3;
  request.etp = 2;
  const PlanResult result = choose_layout(config, request, kArithmetic);
  ASSERT_TRUE(result.choice);
  EXPECT_EQ(result.choice->layout.ep, 3);
  EXPECT_EQ(result.choice->layout.etp, 2);
  EXPECT_EQ(result.choice->layout.pp, 1);
}

TEST(Planner, TimesHaveNoExponent) {
  ModelConfig config = test::small_model(12, 8, 8, 2);
  for (const std::int64_t width : {64, 4096, 1 << 20}) {
    config.emb_size = width;
    config.ffn_size = 32 * width;
    const PlanResult result = choose_layout(config, {1, {}, {}, {}, {}, {}}, kArithmetic);
    ASSERT_TRUE(result.choice);
    EXPECT_EQ(result.choice->reason.find("e+"), std::string::npos) << result.choice->reason;
  }
}

TEST(Planner, RefusalsNameTheRuleAndWhatWorks) {
  const ModelConfig config = test::small_model(2, 2, 8, 2);
  const auto refuse = [&](LayoutRequest request) {
    const PlanResult result = choose_layout(config, request, kArithmetic);
    EXPECT_FALSE(result.choice);
    for (const Layout& layout : result.refusal.nearest) EXPECT_EQ(broken_rule(config, layout), "");
    return result.refusal;
  };
  const Refusal seventeen = refuse({17, {}, {}, {}, {}, {}});
  ASSERT_EQ(seventeen.nearest.size(), 2u);
  EXPECT_EQ(seventeen.nearest[0].ranks(), 16);
  EXPECT_EQ(seventeen.nearest[1].ranks(), 18);

  LayoutRequest too_many_stages{3, {}, {}, {}, {}, {}};
  too_many_stages.pp = 3;
  EXPECT_NE(refuse(too_many_stages).rule.find("num_layers"), std::string::npos);
  LayoutRequest too_many_shards{4, {}, {}, {}, {}, {}};
  too_many_shards.tp = 4;
  const Refusal shards = refuse(too_many_shards);
  EXPECT_NE(shards.rule.find("kv head"), std::string::npos) << shards.rule;
  ASSERT_FALSE(shards.nearest.empty());
  EXPECT_EQ(shards.nearest[0].tp, 2);
  LayoutRequest wrong_product{6, {}, {}, {}, {}, {}};
  wrong_product.ep = 2;
  wrong_product.etp = 2;
  EXPECT_NE(refuse(wrong_product).rule.find("pp*ep*etp"), std::string::npos);
  LayoutRequest too_many_subsets{16, {}, {}, {}, {}, {}};
  too_many_subsets.ep = 16;
  EXPECT_NE(refuse(too_many_subsets).rule.find("num_experts"), std::string::npos);
}

TEST(Footprint, RanksTogetherOwnTheModel) {
  const ModelConfig config = test::small_model(12, 8, 8, 2);
  const auto total = [&](const Layout& layout) {
    const Grid grid(config, layout);
    Footprint sum;
    for (int rank = 0; rank < layout.ranks(); ++rank) {
      const Footprint f = footprint(grid, WorldRank{rank}, kArithmetic, {1, 128, 16});
      sum.weight_bytes += f.weight_bytes;
      sum.kv_bytes += f.kv_bytes;
    }
    return sum;
  };
  const Footprint alone = total({1, 1, 1, 1, 1});
  const std::int64_t small_per_layer = (4 * config.emb_size + config.emb_size * config.num_experts) * 4;
  for (const Layout layout : {Layout{1, 1, 8, 8, 1}, Layout{1, 1, 4, 2, 2}}) {
    const Footprint together = total(layout);
    const std::int64_t copies = layout.ranks() - 1;
    EXPECT_GE(together.weight_bytes, alone.weight_bytes);
    // Norms, router and the row-parallel scales' groups are what more ranks hold more of.
    EXPECT_LE(together.weight_bytes,
              alone.weight_bytes + copies * (config.num_layers * small_per_layer + config.emb_size * 4));
    EXPECT_EQ(together.kv_bytes, alone.kv_bytes);
  }
}

TEST(Footprint, GrokOneInEachFormat) {
  const auto gb = [](WeightFormat format) {
    return static_cast<double>(model_weight_bytes(kGrok1, {format, default_numerics(format)})) * 1e-9;
  };
  // 314.9 billion weights in the matrices; the embedding is bf16.
  EXPECT_NEAR(gb(WeightFormat::kBf16), 2 * 314.8 + 1.6, 1);
  EXPECT_NEAR(gb(WeightFormat::kInt8), 314.8 + 1.6, 1);
  EXPECT_NEAR(gb(WeightFormat::kInt4), 0.53125 * 314.8 + 1.6, 1);
}

TEST(Links, SumsOfTrafficAddUp) {
  const ModelConfig config = test::small_model(4, 8, 8, 2);
  const Grid grid(config, {1, 4, 1, 4, 1});
  double sum = 0;
  for (const Link& link : links(grid, kArithmetic.numeric(), RankPlacement{1, 1})) {
    EXPECT_NE(link.from, link.to);
    EXPECT_GT(link.bytes_per_token, 0);
    sum += link.bytes_per_token;
  }
  EXPECT_GT(sum, 0);
}

/// With a payload of int8 a row goes to the experts as D bytes and a LeafScale; to attention shards it goes as before.
TEST(Links, AnInt8PayloadMakesRowsToExpertsShorter) {
  const ModelConfig config = test::small_model(4, 8, 8, 2);
  const Grid grid(config, {1, 2, 2, 4, 1});
  const double width = static_cast<double>(config.emb_size), layers = static_cast<double>(config.num_layers);
  const double reached = 1 - 6.0 * 5 / (8 * 7);  // top-2 of 8, 2 experts a rank
  for (const auto& [numerics, act_bytes] : {std::pair{Numerics::kF32, 4.0}, {Numerics::kW8A16, 2.0}}) {
    const auto act = links(grid, {numerics, DispatchPayload::kAct}, RankPlacement{1, 1}),
               int8 = links(grid, {numerics, DispatchPayload::kInt8}, RankPlacement{1, 1});
    ASSERT_EQ(act.size(), int8.size());
    for (std::size_t i = 0; i < act.size(); ++i)
      EXPECT_NEAR(act[i].bytes_per_token - int8[i].bytes_per_token,
                  layers / 4 * reached * (act_bytes * width - (width + 8)), 1e-6);
  }
  const auto w8a8 = links(grid, {Numerics::kW8A8}, RankPlacement{1, 1}),
             same = links(grid, {Numerics::kW8A8, DispatchPayload::kInt8}, RankPlacement{1, 1});
  for (std::size_t i = 0; i < same.size(); ++i) EXPECT_EQ(same[i].bytes_per_token, w8a8[i].bytes_per_token);
  EXPECT_LT(footprint(grid, WorldRank{0}, {WeightFormat::kInt8, Numerics::kF32, DispatchPayload::kInt8}, {1, 128, 512})
                .buffer_bytes,
            footprint(grid, WorldRank{0}, {WeightFormat::kInt8, Numerics::kF32}, {1, 128, 512}).buffer_bytes);
}

}  // namespace
}  // namespace moesaic::plan
