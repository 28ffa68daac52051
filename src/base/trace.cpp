#include "base/trace.hpp"

namespace moesaic {

std::string_view name(Zone zone) {
  static constexpr std::array<std::string_view, kNumZones> kNames = {
      "embed",    "norm",      "gather rows", "attention", "reduce-scatter", "router",    "dispatch", "experts",
      "combine",  "- permute", "- send",      "- wait",    "- unpermute",    "hand over", "head",     "sample",
      "schedule", "step",      "load"};
  return kNames[static_cast<std::size_t>(zone)];
}

ZoneTimes& zone_times() {
  static ZoneTimes times;
  return times;
}

Position& position() {
  static Position position;
  return position;
}

TraceZone::TraceZone(Zone zone) : zone_(zone), outer_(position().zone), start_(std::chrono::steady_clock::now()) {
  if (!is_part(zone)) position().zone = zone;
}

TraceZone::~TraceZone() {
  if (!is_part(zone_)) {
    position().zone = outer_;
    position().completed = zone_;
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start_;
  zone_times().seconds[static_cast<std::size_t>(zone_)] += elapsed.count();
  ++zone_times().calls[static_cast<std::size_t>(zone_)];
}

}  // namespace moesaic
