#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/bench/bench.hpp"
#include "measure/dispatch_job.hpp"
#include "plan/synthetic_load.hpp"

namespace moesaic::apps::bench {

/// What the command line of `bench dispatch` says; lists as texts.
struct DispatchCommand {
  std::string presets, algorithms, loads, numerics, isa, replay, progress;
  std::int64_t begin = 0, end = 0, factor = 2;  ///< rows a rank; 0: the preset's
  float alpha = 1;
  int num_hot = 2, num_threads = 0, node_ranks = 0;
  bool sum_orders = false, gemm = false;
  std::int64_t gemm_ffn = 0;   ///< 0: the preset's
  std::int64_t num_steps = 0;  ///< 0: chosen
  std::uint64_t seed = 0;
  plan::LayoutRequest layout;
  plan::PlacementRequest placement;
  DispatchPayload payload = DispatchPayload::kAct;
  DispatchJob::Repetitions repetitions;
  OutputFormat format = OutputFormat::kMarkdown;
};
po::options_description dispatch_bench_options(DispatchCommand& command);

/// A geometry, and rows a rank, as published tables have them.
struct DispatchPreset {
  std::string name;
  ModelConfig config;
  std::int64_t rows_a_rank = 0;
};
std::vector<DispatchPreset> presets_of(const DispatchCommand& command);
/// Error when options are given that have no effect beside each other.
void check_combinations(const DispatchCommand& command, const po::variables_map& map);

/// The preset's own, or those of the sweep.
std::vector<std::int64_t> row_counts(const DispatchCommand& command, const DispatchPreset& preset);
std::vector<plan::DispatchAlgorithm> algorithms_of(const DispatchCommand& command);
std::vector<plan::LoadKind> loads_of(const DispatchCommand& command);

/// One stage; as many expert subsets as the ranks allow, a rank a group.
plan::Layout layout_of(const DispatchCommand& command, const ModelConfig& config, int ranks);

}  // namespace moesaic::apps::bench
