#include "apps/bench/routed_steps.hpp"

#include <algorithm>
#include <numeric>

namespace moesaic::apps::bench {

moe::Routing with_ascending(moe::Routing routing, std::size_t active) {
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

moe::Routing part_of(const moe::Routing& routing, Range rows, std::size_t active) {
  const auto begin = static_cast<std::ptrdiff_t>(rows.begin) * static_cast<std::ptrdiff_t>(active);
  const auto end = static_cast<std::ptrdiff_t>(rows.end) * static_cast<std::ptrdiff_t>(active);
  const auto cut = [&](const auto& list) {
    return std::decay_t<decltype(list)>(list.begin() + begin, list.begin() + end);
  };
  return {cut(routing.experts), cut(routing.gates), cut(routing.ascending_experts), cut(routing.ascending_gates)};
}

}  // namespace moesaic::apps::bench
