#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moe/routing.hpp"
#include "plan/row_map.hpp"

namespace moesaic::apps::bench {

/// The rows of one dispatch and where they go, all of a stage: the same on all ranks.
struct RoutedStep {
  std::vector<std::int64_t> num_group_rows;  ///< (dp)
  moe::Routing routing;                      ///< of all rows
  std::int64_t layer = 0;                    ///< whose placement holds
};

/// Any step, from 0; all ranks give the same.
using RoutingSource = std::function<RoutedStep(std::int64_t step)>;

/// `best_first` with both lists filled in; the ascending ones follow.
moe::Routing with_ascending(moe::Routing best_first, std::size_t active);

/// The part of a routing that belongs to some rows.
moe::Routing part_of(const moe::Routing& routing, Range rows, std::size_t active);

}  // namespace moesaic::apps::bench
