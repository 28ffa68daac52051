#include "plan/cost_model.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <numeric>

#include "base/error.hpp"
#include "models.hpp"
#include "plan/dispatch_policy.hpp"
#include "plan/placement_file.hpp"
#include "plan/planner.hpp"

namespace moesaic::plan {
namespace {

constexpr Arithmetic kArithmetic{WeightFormat::kInt8, Numerics::kW8A16};

/// A machine of round numbers: kernels that cost a picosecond a weight and row, no overheads, links of 1 GB/s.
Machine round_machine() {
  Machine m;
  m.name = "round";
  m.source = "test";
  m.ranks_per_node = 4;
  m.ranks_per_numa = 2;
  ComputeCosts c;
  c.read_gbps = 1;
  c.peak_gmacs = {1, 1, 1, 1};
  const RowCurve curve{{{1, 1}, {2, 2}}};
  for (KernelCosts& k : c.kernels) k = {curve, curve, curve};
  m.compute.push_back(c);
  for (LinkCost& link : m.links) link = {10, 1, 1, 1, true};
  return m;
}

double sum(const std::array<double, kNumParts>& ms) { return std::accumulate(ms.begin(), ms.end(), 0.0); }

std::vector<Grid> all_grids(const ModelConfig& config, int ranks) {
  return placed_grids({}, "", config, all_layouts(config, ranks), ranks);
}

TEST(RowCurve, IsLinearBetweenAndByTheLastRateBeyond) {
  const RowCurve curve{{{1, 10}, {4, 16}, {8, 40}}};
  EXPECT_DOUBLE_EQ(curve.at(0), 0);
  EXPECT_DOUBLE_EQ(curve.at(0.5), 10);  // a call reads all weights
  EXPECT_DOUBLE_EQ(curve.at(1), 10);
  EXPECT_DOUBLE_EQ(curve.at(2), 12);
  EXPECT_DOUBLE_EQ(curve.at(8), 40);
  EXPECT_DOUBLE_EQ(curve.at(16), 80);
}

TEST(RankPlacement, PeersByClass) {
  const RankPlacement placement{4, 2};
  const WorldRank first(0);
  EXPECT_EQ(placement.between(first, first), LinkClass::kSelf);
  EXPECT_EQ(placement.between(first, WorldRank(1)), LinkClass::kNuma);
  EXPECT_EQ(placement.between(first, WorldRank(2)), LinkClass::kNode);
  EXPECT_EQ(placement.between(WorldRank(3), WorldRank(4)), LinkClass::kNetwork);
  for (const Range ranks : {Range{0, 12}, Range{2, 7}, Range{4, 8}})
    for (const WorldRank me : IdRange<WorldRank>(ranks)) {
      Peers expected{};
      for (const WorldRank other : IdRange<WorldRank>(ranks))
        if (other != me) ++expected[static_cast<std::size_t>(placement.between(me, other))];
      EXPECT_EQ(peers_in(placement, me, ranks), expected) << me.value();
    }
}

TEST(Exchange, ByHand) {
  // 2 peers beside, 1 across: 10 - 1 us latency, 3 messages of 1 us, 3 x 1000 bytes at 1 GB/s.
  const Transfer t = exchange(round_machine(), {0, 2, 0, 1}, 1000, 500);
  EXPECT_DOUBLE_EQ(t.us, 9 + 3 + 3);
  EXPECT_DOUBLE_EQ(t.bytes[1], 2000);
  EXPECT_DOUBLE_EQ(t.bytes[3], 1000);
  EXPECT_DOUBLE_EQ(exchange(round_machine(), {}, 1000, 1000).us, 0);
}

TEST(CostModel, OneRankByHand) {
  const ModelConfig c = test::small_model(12, 8, 8, 2);
  CostModel model(c, kArithmetic, round_machine());
  Job job;
  job.context = 7;
  const Prediction p = model.predict(Grid(c, {}), job, {1, 1});
  const double layers = static_cast<double>(c.num_layers), width = static_cast<double>(c.emb_size);
  const double heads = static_cast<double>(c.attn_size()), kv = static_cast<double>(c.kv_size());
  const double ffn = static_cast<double>(c.ffn_size);
  EXPECT_NEAR(p.part_ms(Part::kExperts), layers * 2 * 3 * width * ffn * 1e-9, 1e-12);  // 2 experts, 1 ps a weight
  EXPECT_NEAR(p.part_ms(Part::kAttention), layers * (2 * width * (heads + kv) + 7 * heads) * 1e-9, 1e-12);
  EXPECT_EQ(p.part_ms(Part::kAttentionExchange), 0);
  EXPECT_EQ(p.part_ms(Part::kIdle), 0);
  for (const double bytes : p.bytes_per_token) EXPECT_EQ(bytes, 0);
  EXPECT_EQ(p.memory.weight_bytes, footprint(Grid(c, {}), WorldRank{0}, kArithmetic, {1, 7, 1}).weight_bytes);
}

TEST(CostModel, PartsAddUpAndNothingIsNegative) {
  const ModelConfig config = test::small_model(12, 8, 8, 2);
  for (const std::string_view preset : kMachinePresets) {
    CostModel model(config, kArithmetic, machine_preset(preset));
    for (const Phase phase : {Phase::kDecode, Phase::kPrefill})
      for (const int ranks : {1, 2, 6, 16, 64}) {
        Job job;
        job.phase = phase;
        job.sequences = 5;
        job.context = 100;
        for (const auto& [layout, p] : rank_layouts(model, all_grids(config, ranks), job, {4, 2})) {
          EXPECT_NEAR(sum(p.ms), p.total_ms, 1e-9 * p.total_ms) << layout.text();
          EXPECT_NEAR(p.ms_per_token * static_cast<double>(job.num_tokens()), p.total_ms, 1e-9 * p.total_ms);
          for (const double ms : p.ms) EXPECT_GE(ms, -1e-9 * p.total_ms) << layout.text();
        }
      }
  }
}

TEST(CostModel, MoreWorkTakesLonger) {
  const ModelConfig config = test::small_model(12, 8, 8, 2);
  CostModel model(config, kArithmetic, machine_preset("ordinary"));
  for (const Layout layout : {Layout{1, 1, 4, 2, 2}, Layout{2, 2, 2, 4, 1}, Layout{1, 4, 1, 4, 1}}) {
    const Grid grid(config, layout);
    double shorter = 0, fewer = 0;
    for (const std::int64_t context : {16, 256, 4096}) {
      const double ms = model.predict(grid, {Phase::kDecode, 4, context, 512, 0, {}}, {4, 4}).total_ms;
      EXPECT_GT(ms, shorter) << layout.text();
      shorter = ms;
    }
    for (const std::int64_t sequences : {1, 8, 64, 512}) {
      const double ms = model.predict(grid, {Phase::kDecode, sequences, 64, 512, 0, {}}, {4, 4}).total_ms;
      EXPECT_GT(ms, fewer) << layout.text() << " " << sequences;
      fewer = ms;
    }
  }
}

TEST(CostModel, SlowerNetworksCostMoreAndNodesAtAll) {
  const ModelConfig config = test::small_model(12, 8, 8, 2);
  Machine slow = machine_preset("ordinary");
  LinkCost& network = slow.link(LinkClass::kNetwork);
  network = {50, 10, 0.1, 0.1, false};
  CostModel ordinary(config, kArithmetic, machine_preset("ordinary")), slower(config, kArithmetic, slow);
  for (const Layout& layout : all_layouts(config, 8)) {
    const Grid grid(config, layout);
    const double one_node = ordinary.predict(grid, {}, {8, 8}).total_ms;
    EXPECT_GE(ordinary.predict(grid, {}, {4, 4}).total_ms, one_node) << layout.text();
    EXPECT_GT(slower.predict(grid, {}, {4, 4}).total_ms, ordinary.predict(grid, {}, {4, 4}).total_ms) << layout.text();
    EXPECT_EQ(slower.predict(grid, {}, {8, 8}).part_ms(Part::kCombine),
              ordinary.predict(grid, {}, {8, 8}).part_ms(Part::kCombine));
  }
}

/// A copy of every expert everywhere: nothing has to cross to another node, and all ranks have as much to do.
TEST(CostModel, CopiesSaveWhatTheyCan) {
  const ModelConfig config = test::small_model(4, 8, 8, 2);
  CostModel model(config, kArithmetic, round_machine());
  const std::vector<Layout> layouts{{1, 4, 1, 4, 1}};
  constexpr RankPlacement kRanks{2, 2};
  const auto predict = [&](std::int64_t replicas, DispatchAlgorithm dispatch) {
    const Job job{Phase::kPrefill, 1, 512, 512, 0, dispatch};
    return model.predict(placed_grids({replicas, ""}, "", config, layouts, kRanks.ranks_per_node).front(), job, kRanks);
  };
  const auto network = [](const Prediction& p) { return p.bytes_per_token[3]; };
  for (const DispatchAlgorithm dispatch : {DispatchAlgorithm::kFlat, DispatchAlgorithm::kHier}) {
    const Prediction home = predict(0, dispatch), near = predict(8, dispatch), everywhere = predict(24, dispatch);
    EXPECT_GT(network(home), 0);
    EXPECT_EQ(network(near), 0) << "each node has all experts";
    EXPECT_EQ(network(everywhere), 0);
    EXPECT_LT(everywhere.part_ms(Part::kExperts), home.part_ms(Part::kExperts));
    const double even_ms = 512.0 * 2 / 4 * 3 * static_cast<double>(config.emb_size * config.ffn_size) * 1e-9 *
                           static_cast<double>(config.num_layers);
    EXPECT_NEAR(everywhere.part_ms(Part::kExperts), even_ms, 0.02 * even_ms);
    EXPECT_GT(everywhere.memory.weight_bytes, near.memory.weight_bytes);
    EXPECT_GT(near.memory.weight_bytes, home.memory.weight_bytes);
  }
  // Where all own all rows, these have no node.
  const Grid grid(config, layouts[0], Placement(8, {test::subsets({{0, 1, 4, 5}, {2, 3}, {4, 5}, {0, 6, 7}})}));
  const Job dense{Phase::kDecode, 64, 64, 512, 0, DispatchAlgorithm::kDense};
  EXPECT_EQ(model.predict(grid, dense, {2, 2}).part_ms(Part::kExperts),
            model.predict(grid, dense, {4, 4}).part_ms(Part::kExperts));
}

/// A stage that begins in the middle of a node.
TEST(Links, KnowTheNodesOfEachStage) {
  const ModelConfig config = test::small_model(4, 8, 8, 2);
  const Grid grid = placed_grids({10, ""}, "", config, {{2, 6, 1, 6, 1}}, 4).front();
  std::map<std::pair<int, int>, double> bytes;
  for (const Link& link : links(grid, kArithmetic.numeric(), RankPlacement{4, 4}))
    bytes[{link.from.value(), link.to.value()}] = link.bytes_per_token;
  const ExpectedRouting routing(grid, RankPlacement{4, 4}.nodes(grid, StageId(1)));
  EXPECT_EQ(RankPlacement({4, 4}).nodes(grid, StageId(1)).members(DomainId(0)).size(), 2) << "ranks 6 and 7";
  const double row = static_cast<double>(kArithmetic.numeric().expert_row(config.emb_size).row_bytes());
  const double of_7 = routing.reaches(StageRank(0), SubsetId(1)), of_9 = routing.reaches(StageRank(0), SubsetId(3));
  const double terms_7 = routing.terms(StageRank(1), SubsetId(0)), terms_9 = routing.terms(StageRank(3), SubsetId(0));
  const double layers = static_cast<double>(config.num_layers) / 2, act = 2.0 * static_cast<double>(config.emb_size);
  EXPECT_NEAR((bytes[{6, 7}] - bytes[{6, 9}]), layers / 6 * ((of_7 - of_9) * row + (terms_7 - terms_9) * act), 1e-6);
}

TEST(CostModel, RecordedRoutingDecidesWhatTheBusiestHas) {
  const ModelConfig config = test::small_model(2, 8, 8, 2);
  RecordedRouting one_sided{3, 2, {}};
  for (std::int64_t i = 0; i < config.num_layers * 3; ++i) one_sided.experts.insert(one_sided.experts.end(), {2, 3});
  CostModel uniform(config, kArithmetic, round_machine()), recorded(config, kArithmetic, round_machine(), one_sided);
  const Grid grid(config, {1, 4, 1, 4, 1});
  for (const std::int64_t sequences : {1, 7, 64}) {
    const Job job{Phase::kDecode, sequences, 64, 512, 0, {}};
    const double all_ms =
        static_cast<double>(sequences * config.num_layers * 2 * 3 * config.emb_size * config.ffn_size) * 1e-9;
    EXPECT_NEAR(recorded.predict(grid, job, {4, 4}).part_ms(Part::kExperts), all_ms, 1e-9 * all_ms);
    EXPECT_LT(uniform.predict(grid, job, {4, 4}).part_ms(Part::kExperts), 0.9 * all_ms);
  }
}

TEST(PlacedGrids, AreThoseOfLayoutsThatCanHaveTheCopies) {
  const ModelConfig config = test::small_model(4, 8, 8, 2);
  const auto layouts = all_layouts(config, 4);
  for (const Grid& grid : placed_grids({9, ""}, "", config, layouts, 4)) {
    EXPECT_EQ(grid.layout().ep, 4);  // ep=2 has room for 8
    EXPECT_EQ(grid.placement().num_copies(), 9);
  }
  const std::string text = to_text(Placement(8, 2), config.num_layers);
  const auto of_file = placed_grids({0, "file"}, text, config, layouts, 4);
  EXPECT_FALSE(of_file.empty());
  for (const Grid& grid : of_file) EXPECT_EQ(grid.layout().ep, 2);
  EXPECT_THROW(placed_grids({25, ""}, "", config, layouts, 4), Error);
  EXPECT_THROW(placed_grids({0, "file"}, "nonsense", config, layouts, 4), Error);
}

TEST(CostModel, ThousandRanksInASecond) {
  const auto start = std::chrono::steady_clock::now();
  const ModelConfig grok = kGrok1;
  CostModel model(grok, kArithmetic, machine_preset("cpu-zen4-ib-hdr"));
  Job job;
  job.sequences = 64;
  const auto ranked = rank_layouts(model, all_grids(grok, 1024), job, {2, 1});
  ASSERT_FALSE(ranked.empty());
  EXPECT_TRUE(std::is_sorted(ranked.begin(), ranked.end(), [](const RankedLayout& a, const RankedLayout& b) {
    return a.prediction.ms_per_token < b.prediction.ms_per_token;
  }));
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 5);  // sanitizers, load
}

TEST(MachineFile, RoundTrip) {
  for (const std::string_view preset : kMachinePresets) {
    const std::string text = to_text(machine_preset(preset));
    EXPECT_EQ(to_text(machine_from_text(text, "file")), text) << preset;
  }
  Machine two = machine_preset("ordinary");
  two.compute.push_back(two.compute.front());
  two.compute[1].num_threads = 8;
  const Machine read = machine_from_text(to_text(two), "file");
  EXPECT_EQ(read.with_threads(7).num_threads, 8);
  EXPECT_EQ(read.with_threads(0).num_threads, 1);
}

TEST(MachineFile, SaysWhatIsWrong) {
  const std::string good = to_text(machine_preset("ordinary"));
  const auto refused = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const auto at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    try {
      machine_from_text(text, "m.json");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_NE(refused("{", "").find("m.json: not valid JSON"), std::string::npos);
  EXPECT_NE(refused("{", "{\"\xFF\": 1,").find("m.json: not valid JSON: byte 2 is 0xff"), std::string::npos);
  EXPECT_NE(refused("machine 1", "machine 9").find("'format' is 'moesaic machine 9'"), std::string::npos);
  EXPECT_NE(refused("\"ranks_per_node\"", "\"x\"").find("'ranks_per_node' is missing"), std::string::npos);
  EXPECT_NE(refused("\"ranks_per_node\": 8", "\"ranks_per_node\": 0").find("'ranks_per_node' is 0"), std::string::npos);
  EXPECT_NE(refused("\"latency_us\": 0.0", "\"latency_us\": -1").find("links: self: 'latency_us' is -1"),
            std::string::npos);
  EXPECT_NE(refused("\"w8a8\"", "\"w3a3\"").find("'w3a3' is no numeric mode"), std::string::npos);
  EXPECT_NE(refused("\"read_gbps\": 20.0", "\"read_gbps\": \"fast\"").find("compute[0]: 'read_gbps' is \"fast\""),
            std::string::npos);
  EXPECT_THROW(read_machine("no such machine"), Error);
}

TEST(DispatchPolicy, FollowsTheCosts) {
  const ModelConfig config = test::small_model(12, 8, 8, 2);
  const Grid grid(config, {1, 1, 4, 2, 2});
  Machine far = machine_preset("ordinary");  // where every message costs, few of them are best
  for (LinkCost& link : far.links) link = {100, 50, 100, 100, false};
  far.link(LinkClass::kSelf).latency_us = 0;
  Machine thin = far;  // where every byte costs, few of these
  for (LinkCost& link : thin.links) link = {0.01, 0.001, 0.001, 0.001, false};
  thin.link(LinkClass::kSelf) = {0, 0, 100, 100, false};
  const auto request = [](const char* name, const Machine& machine) {
    DispatchRequest request;
    request.machine = name;
    request.machine_text = to_text(machine);
    return request;
  };
  const DispatchPolicy by_messages(grid, request("far", far), {0, 0, 0, 0}, Numerics::kW8A16);
  const DispatchPolicy by_bytes(grid, request("thin", thin), {0, 0, 0, 0}, Numerics::kW8A16);
  EXPECT_EQ(by_messages.algorithm(1), DispatchAlgorithm::kDense) << by_messages.text();
  EXPECT_EQ(by_bytes.algorithm(4096), DispatchAlgorithm::kFlat) << by_bytes.text();
  DispatchRequest agrs;
  agrs.algorithm = DispatchAlgorithm::kAgrs;
  const DispatchPolicy asked(grid, agrs, {0, 0, 0, 0}, Numerics::kW8A16);
  EXPECT_EQ(asked.algorithm(1), DispatchAlgorithm::kAgrs);
  EXPECT_EQ(asked.text(), "agrs: as asked");
  const DispatchPolicy alone(Grid(config, {}), {}, {0}, Numerics::kW8A16);
  EXPECT_EQ(alone.text(), "none: one rank a stage");
  // Nodes of two ranks, a thin network: hier, but where they have no shared memory.
  Machine nodes = thin;
  nodes.link(LinkClass::kNuma) = nodes.link(LinkClass::kNode) = {0.01, 0.001, 100, 100, false};
  DispatchRequest roomy = request("nodes", nodes), tight = roomy;
  tight.shared_memory = false;
  EXPECT_EQ(DispatchPolicy(grid, roomy, {0, 0, 1, 1}, Numerics::kW8A16).algorithm(512), DispatchAlgorithm::kHier);
  EXPECT_NE(DispatchPolicy(grid, tight, {0, 0, 1, 1}, Numerics::kW8A16).algorithm(512), DispatchAlgorithm::kHier);
  DispatchPolicy follower(grid, {}, {0, 0, 1, 1}, Numerics::kW8A16);
  follower.adopt(by_messages.choices());
  for (std::int64_t rows = 1; rows < 9000; rows += 37) EXPECT_EQ(follower.algorithm(rows), by_messages.algorithm(rows));
}

}  // namespace
}  // namespace moesaic::plan
