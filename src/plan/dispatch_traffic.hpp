#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "plan/dispatch_plan.hpp"

namespace moesaic::plan {

/// What goes from each rank of a stage to each other: of (source, destination), row-major.
struct PairTraffic {
  explicit PairTraffic(std::int64_t ranks)
      : num_ranks(ranks), rows(static_cast<std::size_t>(ranks * ranks)), bytes(rows.size()), messages(rows.size()) {}

  IdRange<StageRank> ranks() const { return ids<StageRank>(num_ranks); }
  std::size_t at(StageRank source, StageRank destination) const {
    return static_cast<std::size_t>(source.value() * num_ranks + destination.value());
  }
  void add(StageRank source, StageRank destination, std::int64_t num_rows, std::size_t size_bytes);

  std::int64_t num_ranks;
  std::vector<std::int64_t> rows;  ///< rows of dispatch, pieces of combine
  std::vector<std::uint64_t> bytes, messages;
};

struct DispatchTraffic {
  PairTraffic dispatch, combine;
};

/// The messages of one layer, counted from the rule (docs/communication-bench.md), not from the plans that ranks make:
/// what the wire must carry. setting: with the algorithm's domains (AlgorithmTraits::by_nodes). slots: (all rows, A),
/// in any order in a row.
DispatchTraffic dispatch_traffic(const DispatchSetting& setting, DispatchAlgorithm algorithm, const RowMap& rows,
                                 const RowMessage& message, std::span<const std::int32_t> slots);

/// Bytes that the same layer moves by the meaning of it, whatever the algorithm: each row to each rank that holds a
/// slice of one of its experts, its own rank included, and back what that rank makes of it. setting: each rank alone.
DispatchTraffic logical_traffic(const DispatchSetting& setting, const RowMap& rows, std::size_t row_bytes,
                                std::span<const std::int32_t> slots);

/// Terms (rows times experts) that each rank's experts work on.
IdVector<StageRank, std::int64_t> terms_of_ranks(const Grid& grid, std::span<const std::int32_t> slots);

}  // namespace moesaic::plan
