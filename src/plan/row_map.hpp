#pragma once

#include <span>
#include <vector>

#include "plan/grid.hpp"

namespace moesaic::plan {

/// Which rank of a stage owns which rows of a batch. Rows are ordered by attention group; a group's rows are shared out
/// evenly over its shards, so that every rank owns one contiguous range.
class RowMap {
 public:
  /// num_group_rows: rows of each group (dp entries).
  RowMap(const Grid& grid, std::span<const std::int64_t> num_group_rows);

  std::int64_t num_rows() const { return rows_.empty() ? 0 : rows_.back().end; }
  Range rows(StageRank rank) const { return rows_[static_cast<std::size_t>(index(rank))]; }
  Range group_rows(int group) const { return groups_[static_cast<std::size_t>(group)]; }
  StageRank owner(std::int64_t row) const;

 private:
  std::vector<Range> rows_;    // by rank of the stage
  std::vector<Range> groups_;  // by group
};

}  // namespace moesaic::plan
