#pragma once

#include <span>
#include <vector>

#include "plan/dispatch_algorithm.hpp"
#include "plan/grid.hpp"

namespace moesaic::plan {

/// Which rank of a stage owns which rows of a batch. Rows are ordered by attention group; a group's rows are shared out
/// evenly over its shards, so that every rank owns one contiguous range. Or all ranks own all rows; then each still has
/// its share of them, for what is to be done once a row.
class RowMap {
 public:
  /// num_group_rows: rows of each group (dp entries).
  RowMap(const Grid& grid, std::span<const std::int64_t> num_group_rows, Ownership ownership = Ownership::kShared);

  Ownership ownership() const { return ownership_; }
  std::int64_t num_rows() const { return shares_.empty() ? 0 : shares_.back().end; }
  /// Rows that a rank owns.
  Range rows(StageRank rank) const { return ownership_ == Ownership::kShared ? share(rank) : Range{0, num_rows()}; }
  /// Disjoint over the ranks of the stage.
  Range share(StageRank rank) const { return shares_[rank]; }
  Range group_rows(GroupId group) const { return groups_[group]; }

  friend bool operator==(const RowMap&, const RowMap&) = default;

 private:
  Ownership ownership_;
  IdVector<StageRank, Range> shares_;
  IdVector<GroupId, Range> groups_;
};

}  // namespace moesaic::plan
