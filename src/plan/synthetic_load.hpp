#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "plan/grid.hpp"

/// Loads for dispatch that stand for routers: pure functions of (load, step, row), so that every rank knows them, any
/// rank count sees the same rows, and a run can be repeated.
namespace moesaic::plan {

enum class LoadKind : std::uint8_t {
  kUniform,    ///< A different experts, all alike
  kZipf,       ///< expert popularity 1 / place^alpha, places in an order of the seed's
  kHotExpert,  ///< one expert is every row's best
  kHotRank,    ///< rows choose inside one subset, as far as it has experts
  kIncast,     ///< inside num_hot subsets
  kRagged,     ///< uniform; groups have 0 to twice the rows, some none
  kIdleRank,   ///< uniform, but nobody chooses one subset's experts
  kRotating,   ///< hot expert, the next one in every step
  kBurst,      ///< uniform; every fourth step brings 3 times the rows, the others a third
};
inline constexpr LoadKind kAllLoadKinds[] = {LoadKind::kUniform,  LoadKind::kZipf,     LoadKind::kHotExpert,
                                             LoadKind::kHotRank,  LoadKind::kIncast,   LoadKind::kRagged,
                                             LoadKind::kIdleRank, LoadKind::kRotating, LoadKind::kBurst};
std::string_view name(LoadKind kind);
std::optional<LoadKind> load_from(std::string_view name);
/// The names of all kinds, as help texts list them.
inline constexpr const char* kLoadOptions =
    "uniform, zipf, hot-expert, hot-rank, incast, ragged, idle-rank, rotating or burst";

struct SyntheticLoad {
  LoadKind kind = LoadKind::kUniform;
  double alpha = 1;  ///< kZipf
  int num_hot = 2;   ///< kIncast: subsets
  std::uint64_t seed = 0;

  /// Rows of each attention group in a step; rows_a_rank of each rank in the mean (of kBurst over four steps: 1).
  std::vector<std::int64_t> group_rows(const Grid& grid, std::int64_t rows_a_rank, std::int64_t step) const;

  /// Of a row (its number in the stage), best first: A different experts, and their gates in (0, 1), descending.
  void choose(const Grid& grid, std::int64_t step, std::int64_t row, std::span<std::int32_t> experts,
              std::span<float> gates) const;
};

}  // namespace moesaic::plan
