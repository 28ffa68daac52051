#pragma once

#include <optional>
#include <span>
#include <vector>

#include "plan/domains.hpp"
#include "plan/row_map.hpp"

namespace moesaic::plan {

/// Whether a node has a slice of a subset's experts, 0 or 1.
using NearSubsets = IdVector<SubsetId, char>;
/// The subsets near each node; nodes: the nodes of the stage's ranks.
IdVector<DomainId, NearSubsets> subsets_near(const Grid& grid, const Domains& nodes);

/// Which of an expert's holders a row goes to: one with a slice on the owner's node, when there are any, else any;
/// among those in turn, by the row's number in the batch. It follows from what all ranks know, whatever the algorithm,
/// so the bytes can be counted beforehand; the result does not depend on it.
class SlotChoice {
 public:
  /// nodes: the nodes of the stage's ranks. owner: the rank that owns the rows; nullopt where all ranks own all rows.
  SlotChoice(const Grid& grid, const Domains& nodes, std::optional<StageRank> owner);

  /// Replaces `slots` (rows, A) by those for experts (rows, A). first_row: number of the first row in the batch.
  void choose(ModelLayer layer, std::int64_t first_row, std::span<const std::int32_t> experts,
              std::vector<std::int32_t>& slots) const;

 private:
  const Grid& grid_;
  NearSubsets near_;  // subsets of which the owner's node has a slice
};

/// The share of its expert's rows that each slot of a layer gets in turn, from owners on a node with these subsets.
IdVector<SlotId, double> turn_shares(const Placement& placement, ModelLayer layer, const NearSubsets& near);

/// The slots (all rows, A) that the owners of a batch choose for experts (all rows, A).
std::vector<std::int32_t> slots_of_rows(const Grid& grid, const Domains& nodes, const RowMap& rows, ModelLayer layer,
                                        std::span<const std::int32_t> experts);

}  // namespace moesaic::plan
