#include "measure/routed_steps.hpp"

#include <algorithm>
#include <numeric>

namespace moesaic::measure {

moe::HostRouting with_ascending(moe::HostRouting routing, std::size_t active) {
  routing.ascending_experts.resize(routing.experts.size());
  routing.ascending_gates.resize(routing.gates.size());
  std::vector<std::size_t> order(active);
  for (std::size_t first = 0; first < routing.experts.size(); first += active) {
    std::iota(order.begin(), order.end(), first);
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return routing.experts[a] < routing.experts[b]; });
    for (std::size_t a = 0; a < active; ++a) {
      routing.ascending_experts[first + a] = routing.experts[order[a]];
      routing.ascending_gates[first + a] = routing.gates[order[a]];
    }
  }
  return routing;
}

moe::HostRouting part_of(const moe::HostRouting& routing, Range rows, std::size_t active) {
  const auto begin = static_cast<std::ptrdiff_t>(rows.begin) * static_cast<std::ptrdiff_t>(active);
  const auto end = static_cast<std::ptrdiff_t>(rows.end) * static_cast<std::ptrdiff_t>(active);
  const auto cut = [&](const auto& list) {
    return std::decay_t<decltype(list)>(list.begin() + begin, list.begin() + end);
  };
  return {cut(routing.experts), cut(routing.gates), cut(routing.ascending_experts), cut(routing.ascending_gates)};
}

RoutingSource synthetic_steps(const plan::Grid& grid, const plan::SyntheticLoad& load, std::int64_t rows_a_rank) {
  return [&grid, load, rows_a_rank](std::int64_t step) {
    RoutedStep routed{load.group_rows(grid, rows_a_rank, step), {}, {}};
    const auto active = static_cast<std::size_t>(grid.config().num_selected_experts);
    const plan::RowMap rows(grid, routed.num_group_rows);
    const auto num_rows = static_cast<std::size_t>(rows.num_rows());
    routed.routing.experts.resize(num_rows * active);
    routed.routing.gates.resize(num_rows * active);
    for (std::size_t row = 0; row < num_rows; ++row)
      load.choose(grid, step, static_cast<std::int64_t>(row),
                  std::span(routed.routing.experts).subspan(row * active, active),
                  std::span(routed.routing.gates).subspan(row * active, active));
    return routed;
  };
}

RoutingSource replayed_steps(const plan::Grid& grid, const RoutingTraceFile& trace) {
  return [&grid, &trace](std::int64_t step) {
    const std::int64_t layers = trace.num_layers, batch = step / layers % trace.num_batches();
    RoutedStep routed;
    routed.layer = ModelLayer(step % layers);
    auto [experts, gates] = trace.layer(batch, routed.layer);
    const std::int64_t num_rows = trace.rows(batch).size();
    for (const plan::GroupId group : grid.groups())
      routed.num_group_rows.push_back(even_part(num_rows, grid.layout().dp, group.value()).size());
    routed.routing.experts = std::move(experts);
    routed.routing.gates = std::move(gates);
    return routed;
  };
}

}  // namespace moesaic::measure
