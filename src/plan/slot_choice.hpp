#pragma once

#include <optional>
#include <span>
#include <vector>

#include "plan/domains.hpp"
#include "plan/row_map.hpp"

namespace moesaic::plan {

/// Which of an expert's holders a row goes to: one with a slice on the owner's node, when there are any, else any;
/// among those in turn, by the row's number in the batch. It follows from what all ranks know, whatever the algorithm,
/// so the bytes can be counted beforehand; the result does not depend on it.
class SlotChoice {
 public:
  /// nodes: the nodes of the stage's ranks. owner: the rank that owns the rows; nullopt where all ranks own all rows.
  SlotChoice(const Grid& grid, const Domains& nodes, std::optional<StageRank> owner);

  /// Replaces `slots` (rows, A) by those for experts (rows, A). first_row: number of the first row in the batch.
  void choose(std::int64_t layer, std::int64_t first_row, std::span<const std::int32_t> experts,
              std::vector<std::int32_t>& slots) const;

 private:
  const Grid& grid_;
  std::vector<char> near_;  // indexed by subset: whether the owner's node has a slice of it
};

/// Whether a node has a slice of a subset's experts; the result is indexed by node, then by subset.
std::vector<std::vector<char>> subsets_near(const Grid& grid, const Domains& nodes);

/// The share of its expert's rows that each slot of a layer gets in turn, from owners on a node that has the subsets
/// with near[subset] != 0; the result is indexed by slot.
std::vector<double> turn_shares(const Placement& placement, std::int64_t layer, const std::vector<char>& near);

/// The slots (all rows, A) that the owners of a batch choose for experts (all rows, A).
std::vector<std::int32_t> slots_of_rows(const Grid& grid, const Domains& nodes, const RowMap& rows, std::int64_t layer,
                                        std::span<const std::int32_t> experts);

}  // namespace moesaic::plan
