#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/routing_trace.hpp"
#include "moe/routing.hpp"
#include "plan/row_map.hpp"
#include "plan/synthetic_load.hpp"

namespace moesaic::measure {

/// The rows of one dispatch and where they go, all of a stage: the same on all ranks.
struct RoutedStep {
  std::vector<std::int64_t> num_group_rows;  ///< (dp)
  moe::HostRouting routing;                  ///< routing of all rows
  ModelLayer layer;                          ///< the layer whose placement of experts holds
};

/// Gives any step, counted from 0; all ranks get the same.
using RoutingSource = std::function<RoutedStep(std::int64_t step)>;

/// Rows of a synthetic load, rows_a_rank of them a rank on average. The grid must outlive the source.
RoutingSource synthetic_steps(const plan::Grid& grid, const plan::SyntheticLoad& load, std::int64_t rows_a_rank);

/// A step is one layer of one batch of the trace, layer after layer; the rows of the batch are shared out evenly over
/// the data-parallel groups. Grid and trace must outlive the source.
RoutingSource replayed_steps(const plan::Grid& grid, const RoutingTraceFile& trace);

/// `best_first` with both lists filled in; the ascending ones follow.
moe::HostRouting with_ascending(moe::HostRouting best_first, std::size_t active);

/// The part of a routing that belongs to some rows.
moe::HostRouting part_of(const moe::HostRouting& routing, Range rows, std::size_t active);

}  // namespace moesaic::measure
