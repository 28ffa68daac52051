// The contract: one hash for each golden and numeric mode, whatever the layout, threads, prefill chunk, batch and
// instruction path; and the same from commit to commit (tests/data/hashes.json).

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "run_support.hpp"
#include "support/random_placement.hpp"
#include "support/test_data.hpp"

namespace moesaic::test {
namespace {

constexpr std::int64_t kChunks[] = {0, 1, 7, 64};

bool every_layout() { return std::getenv("MOESAIC_EVERY_LAYOUT") != nullptr; }

std::string committed_hash(const std::string& golden, Numerics numerics) {
  std::ifstream stream(std::string(MOESAIC_TEST_DATA) + "/hashes.json");
  return nlohmann::json::parse(stream).at(golden).at(std::string(name(numerics))).get<std::string>();
}

/// Layouts of this job's rank count: all of them (or 40), or a part spread over all.
std::vector<plan::Layout> layouts(const ModelConfig& config, int ranks, std::size_t most) {
  const auto all = plan::all_layouts(config, ranks);
  constexpr std::size_t kMostOfAll = 40;
  if (every_layout()) most = kMostOfAll;
  if (all.size() <= most) return all;
  std::vector<plan::Layout> some;
  for (std::size_t i = 0; i < most; ++i) some.push_back(all[(2 * i + 1) * all.size() / (2 * most)]);
  return some;
}

std::vector<cpu::Isa> paths() {
  std::vector<cpu::Isa> supported;
  for (const cpu::Isa isa : cpu::kAllIsas)
    if (cpu::supported(isa)) supported.push_back(isa);
  return supported;
}

/// How many layouts the algorithms are tried on: rows travel in the same form in all modes with bf16 inputs, so one of
/// these modes stands for the others.
std::size_t layouts_for(Numerics numerics) {
  const bool of_int8 = format_of(numerics).value_or(WeightFormat::kInt8) == WeightFormat::kInt8;
  return of_int8 ? 2 : 1;
}

/// Ranks that make a node, in turns; where nodes matter to the algorithm, at least two, so that memory is shared.
int node_ranks_for(const plan::DispatchRequest& dispatch, std::size_t turn) {
  const bool by_nodes = dispatch.algorithm && plan::traits(*dispatch.algorithm).by_nodes;
  return static_cast<int>(by_nodes ? 2 + turn % 2 : turn % 4);
}

class Layouts : public testing::TestWithParam<std::tuple<std::string, Numerics>> {};

TEST_P(Layouts, GiveTheCommittedHash) {
  const auto& [golden_name, numerics] = GetParam();
  const auto golden = open_golden(golden_name, numerics);
  if (!golden) GTEST_SKIP() << "the golden " << golden_name << " is in ../shared, which is not there";
  const auto world = comm::Communicator::world();
  const std::string expected = committed_hash(golden_name, numerics);
  const auto isas = paths();
  // Threads, chunk and path change from layout to layout, each at its own pace.
  std::size_t turn = 0;
  // 12 and 16 ranks on a machine of a few cores take their time: the golden with the most layouts stands for all.
  if (world.size() > 8 && golden_name != "tiny") GTEST_SKIP() << "covered by tiny";
  const std::size_t most = golden_name == "tiny" ? 5 : 3;
  for (const plan::Layout& layout : layouts(golden->index.config(), world.size(), most)) {
    RunSetting setting{layout, numerics, isas[turn % isas.size()], kChunks[(turn / 2 + turn) % std::size(kChunks)],
                       1 + static_cast<int>(turn % 3)};
    const auto algorithms = plan::kAllDispatchAlgorithms;
    if (turn % 6 < 5) setting.dispatch.algorithm = algorithms[turn % 6];
    setting.dispatch.node_ranks = node_ranks_for(setting.dispatch, turn);
    ++turn;
    EXPECT_EQ(run_golden(world, *golden, setting, golden->sequences), expected) << setting.text();
  }
}

TEST_P(Layouts, DispatchAlgorithmsChangeNothing) {
  const auto& [golden_name, numerics] = GetParam();
  const auto golden = open_golden(golden_name, numerics);
  if (!golden) GTEST_SKIP() << "the golden " << golden_name << " is in ../shared, which is not there";
  const auto world = comm::Communicator::world();
  if (world.size() == 1 || (!every_layout() && golden_name != "tiny" && golden_name != "e16"))
    GTEST_SKIP() << "covered by other runs";
  const std::string expected = committed_hash(golden_name, numerics);
  std::size_t turn = 0;
  for (const plan::Layout& layout : layouts(golden->index.config(), world.size(), layouts_for(numerics)))
    for (const plan::DispatchAlgorithm algorithm : plan::kAllDispatchAlgorithms)
      for (const int node_ranks : {2, 3}) {
        if (algorithm != plan::DispatchAlgorithm::kHier && node_ranks > 2) continue;
        RunSetting setting{layout, numerics, paths().back(), kChunks[turn % 3 == 0 ? 3 : 0]};
        setting.dispatch.algorithm = algorithm;
        setting.dispatch.node_ranks = node_ranks;
        ++turn;
        EXPECT_EQ(run_golden(world, *golden, setting, golden->sequences), expected) << setting.text();
      }
}

TEST_P(Layouts, TwoBatchOverlapChangesNothing) {
  const auto& [golden_name, numerics] = GetParam();
  const auto golden = open_golden(golden_name, numerics);
  if (!golden) GTEST_SKIP() << "the golden " << golden_name << " is in ../shared, which is not there";
  const auto world = comm::Communicator::world();
  if (!every_layout() && golden_name != "tiny" && golden_name != "e16") GTEST_SKIP() << "covered by other runs";
  const std::string expected = committed_hash(golden_name, numerics);
  std::size_t turn = 0;
  const std::size_t most = golden_name == "tiny" ? layouts_for(numerics) : 1;
  for (const plan::Layout& layout : layouts(golden->index.config(), world.size(), most))
    for (const plan::DispatchAlgorithm algorithm : plan::kAllDispatchAlgorithms) {
      RunSetting setting{layout, numerics, paths().back(), kChunks[turn % 3 == 0 ? 3 : 0]};
      setting.dispatch.algorithm = algorithm;
      setting.dispatch.node_ranks = static_cast<int>(turn % 3);
      setting.overlap_rows = turn % 2 == 0 ? 2 : 20;
      ++turn;
      EXPECT_EQ(run_golden(world, *golden, setting, golden->sequences), expected) << setting.text();
    }
}

/// Rounded rows are another result, but one for all layouts and algorithms: that of a rank by itself.
TEST_P(Layouts, AnInt8PayloadHasOneHash) {
  const auto& [golden_name, numerics] = GetParam();
  const auto golden = open_golden(golden_name, numerics);
  if (!golden) GTEST_SKIP() << "the golden " << golden_name << " is in ../shared, which is not there";
  const auto world = comm::Communicator::world();
  if ((world.size() != 2 && world.size() != 4) || golden_name != "tiny") GTEST_SKIP() << "covered by other runs";
  RunSetting setting{plan::Layout{}, numerics, cpu::Isa::kPortable};
  setting.dispatch.payload = DispatchPayload::kInt8;
  const std::string expected = run_golden(comm::Communicator::self(), *golden, setting, golden->sequences);
  EXPECT_EQ(expected == committed_hash(golden_name, numerics), numerics == Numerics::kW8A8);
  std::size_t turn = 0;
  const auto some = layouts(golden->index.config(), world.size(), 3);
  for (const plan::DispatchAlgorithm algorithm : plan::kAllDispatchAlgorithms) {
    setting.layout = some[turn % some.size()];
    setting.isa = paths()[turn % paths().size()];
    setting.num_threads = 1 + static_cast<int>(turn++ % 2);
    setting.dispatch.algorithm = algorithm;
    setting.dispatch.node_ranks = 2;
    EXPECT_EQ(run_golden(world, *golden, setting, golden->sequences), expected) << setting.text();
  }
}

TEST_P(Layouts, CopiesOfExpertsChangeNothing) {
  const auto& [golden_name, numerics] = GetParam();
  const auto golden = open_golden(golden_name, numerics);
  if (!golden) GTEST_SKIP() << "the golden " << golden_name << " is in ../shared, which is not there";
  const auto world = comm::Communicator::world();
  if (world.size() == 1 || world.size() > 8 || golden_name != "tiny") GTEST_SKIP() << "covered by other runs";
  const ModelConfig& config = golden->index.config();
  std::vector<plan::Layout> some;  // pipelined ones, sliced ones, uneven ones
  for (const plan::Layout& layout : plan::all_layouts(config, world.size()))
    if (layout.ep > 1) some.push_back(layout);
  std::mt19937 random(static_cast<unsigned>(world.size()));
  std::shuffle(some.begin(), some.end(), random);
  const std::string expected = committed_hash(golden_name, numerics);
  std::size_t turn = 0;
  for (const plan::DispatchAlgorithm algorithm : plan::kAllDispatchAlgorithms) {
    RunSetting setting{some[turn++ % some.size()], numerics, paths().back(), kChunks[turn % 2 * 3]};
    setting.dispatch.algorithm = algorithm;
    setting.dispatch.node_ranks = node_ranks_for(setting.dispatch, turn);
    setting.placement = random_placement(random, config, setting.layout.ep);
    EXPECT_EQ(run_golden(world, *golden, setting, golden->sequences), expected) << setting.text();
  }
}

/// Kernels that run as late as they may: the host waits for all that it reads, sends and writes over.
TEST_P(Layouts, TheDeferredBackendGivesTheCommittedHash) {
  const auto& [golden_name, numerics] = GetParam();
  const auto golden = open_golden(golden_name, numerics);
  if (!golden) GTEST_SKIP() << "the golden " << golden_name << " is in ../shared, which is not there";
  const auto world = comm::Communicator::world();
  if (world.size() > 8 && golden_name != "tiny") GTEST_SKIP() << "covered by tiny";
  const std::string expected = committed_hash(golden_name, numerics);
  std::size_t turn = 0;
  for (const plan::Layout& layout : layouts(golden->index.config(), world.size(), golden_name == "tiny" ? 6 : 2)) {
    RunSetting setting{layout, numerics, paths().back(), kChunks[turn % 2 * 3]};
    setting.backend = "deferred";
    if (turn % 6 < 5) setting.dispatch.algorithm = plan::kAllDispatchAlgorithms[turn % 6];
    setting.dispatch.node_ranks = node_ranks_for(setting.dispatch, turn);
    setting.overlap_rows = turn % 2 == 0 ? 0 : 2;
    ++turn;
    EXPECT_EQ(run_golden(world, *golden, setting, golden->sequences), expected) << setting.text();
  }
}

TEST_P(Layouts, ChunksThreadsAndPathsChangeNothing) {
  const auto& [golden_name, numerics] = GetParam();
  const auto golden = open_golden(golden_name, numerics);
  if (!golden) GTEST_SKIP() << "the golden " << golden_name << " is in ../shared, which is not there";
  const auto world = comm::Communicator::world();
  const bool small = golden_name == "tiny" || golden_name == "e16";
  if (world.size() > (every_layout() ? 3 : small ? 2 : 1)) GTEST_SKIP() << "covered by fewer ranks";
  const std::string expected = committed_hash(golden_name, numerics);
  const plan::Layout layout = layouts(golden->index.config(), world.size(), 1)[0];
  std::size_t turn = 0;
  for (const cpu::Isa isa : paths())
    for (const int num_threads : {1, 2, 3})
      for (const std::int64_t chunk : kChunks) {
        const bool long_run = chunk == 1 && golden_name != "tiny";
        if (!every_layout() && (long_run || turn++ % 5 != 0)) continue;  // 5: all chunks take turns
        const RunSetting setting{layout, numerics, isa, chunk, num_threads};
        EXPECT_EQ(run_golden(world, *golden, setting, golden->sequences), expected) << setting.text();
      }
}

TEST_P(Layouts, ASequenceAloneHasTheLogitsItHasInABatch) {
  const auto& [golden_name, numerics] = GetParam();
  const auto golden = open_golden(golden_name, numerics);
  if (!golden) GTEST_SKIP() << "the golden " << golden_name << " is in ../shared, which is not there";
  const auto world = comm::Communicator::world();
  const RunSetting setting{layouts(golden->index.config(), world.size(), 1)[0], numerics, paths().back(), 7, 1};
  using Rows = std::map<std::int32_t, std::vector<float>>;  // position -> logits
  const auto rows_of = [&](const std::vector<std::vector<std::int32_t>>& sequences, std::int32_t which) {
    Rows rows;
    run_golden(world, *golden, setting, sequences,
               [&](std::int32_t sequence, std::int32_t position, std::span<const float> logits) {
                 if (sequence == which) rows[position].assign(logits.begin(), logits.end());
               });
    return rows;
  };
  const auto last = static_cast<std::int32_t>(golden->sequences.size() - 1);
  const Rows together = rows_of(golden->sequences, last);
  const Rows alone = rows_of({golden->sequences.back()}, 0);
  EXPECT_TRUE(together == alone);
}

std::string case_name(const testing::TestParamInfo<std::tuple<std::string, Numerics>>& info) {
  return std::get<0>(info.param) + "_" + std::string(name(std::get<1>(info.param)));
}
INSTANTIATE_TEST_SUITE_P(Goldens, Layouts,
                         testing::Combine(testing::Values("tiny", "e16", "demo", "gqa", "wide"),
                                          testing::Values(Numerics::kF32, Numerics::kW8A16, Numerics::kW8A8,
                                                          Numerics::kW8I16)),
                         case_name);
INSTANTIATE_TEST_SUITE_P(OtherWeights, Layouts,
                         testing::Combine(testing::Values("tiny", "e16"),
                                          testing::Values(Numerics::kW16A16, Numerics::kW4A16, Numerics::kW4I16)),
                         case_name);

}  // namespace
}  // namespace moesaic::test
