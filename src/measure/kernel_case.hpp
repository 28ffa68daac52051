#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/model_config.hpp"
#include "measure/compute.hpp"
#include "measure/limits.hpp"

namespace moesaic::measure {

/// One call of a kernel that is to be timed again and again, on other weights or pages every time.
struct KernelCase {
  std::string op;
  std::int64_t num_rows = 0, num_inputs = 0, num_columns = 0;
  Factors factors = Factors::kF32;  ///< the kind of its multiply-adds
  double multiply_adds = 0;         ///< multiply-adds of a call
  double read_bytes = 0;            ///< bytes of weights or pages that a call reads
  std::function<void(std::size_t call)> run;
  /// Runs once and compares with the portable path bit by bit; what is wrong first.
  std::function<std::optional<std::string>()> check;
};

/// What the cases of a benchmark share.
struct KernelWorkload {
  ModelConfig config;
  std::vector<std::int64_t> row_counts;
  std::int64_t memory_bytes = 0;  ///< size of each set of weights or pages, far more than the caches hold
  std::int64_t context = 0;       ///< keys that the last row of attention sees
};

/// Products with matrices (D -> F/8) and (F/8 -> D): an expert's slice on one of eight ranks.
std::vector<KernelCase> matrix_cases(const Compute& compute, const KernelWorkload& workload);

/// Attention of the last rows of a sequence, all heads.
std::vector<KernelCase> attention_cases(const Compute& compute, const KernelWorkload& workload);

/// Packs random weights, the same in all leaves.
void pack_random(backend::Packer& packer, const backend::Matrix& w, std::uint64_t seed);

/// n pseudo-random numbers, uniform in [-1, 1).
std::vector<float> random_floats(std::size_t n, std::uint64_t seed);

}  // namespace moesaic::measure
