#include "plan/row_map.hpp"

#include "base/error.hpp"

namespace moesaic::plan {

RowMap::RowMap(const Grid& grid, std::span<const std::int64_t> num_group_rows, Ownership ownership)
    : ownership_(ownership) {
  MOESAIC_CHECK(std::ssize(num_group_rows) == grid.layout().dp, "{} groups, dp={}", num_group_rows.size(),
                grid.layout().dp);
  std::int64_t first = 0;
  for (const std::int64_t num_rows : num_group_rows) {
    groups_.push_back({first, first + num_rows});
    for (const ShardId shard : grid.shards()) {
      const Range part = even_part(num_rows, grid.layout().tp, shard.value());
      shares_.push_back({first + part.begin, first + part.end});
    }
    first += num_rows;
  }
}

}  // namespace moesaic::plan
