#include "engine/stage_table.hpp"

#include "base/trace.hpp"
#include "base/units.hpp"
#include "comm/share.hpp"
#include "host/memory.hpp"

namespace moesaic {
namespace {

/// Mean over the ranks of the seconds in a zone.
double mean_seconds(const comm::Communicator& world, Zone zone) {
  return world.sum(zone_times().seconds[static_cast<std::size_t>(zone)]) / world.size();
}

}  // namespace

std::string stage_table(const comm::Communicator& world) {
  std::string table =
      fmt::format("{:<16}{:>12}{:>12}{:>12}{:>8}{:>10}\n", "stage", "min (s)", "mean (s)", "max (s)", "%", "calls");
  const ZoneTimes& times = zone_times();
  double total = 0;  // the other zones are parts of these
  for (const Zone zone : {Zone::kSchedule, Zone::kStep, Zone::kSample}) total += mean_seconds(world, zone);
  for (std::size_t i = 0; i < kNumZones; ++i) {
    const Zone zone = static_cast<Zone>(i);
    const double least = world.min(times.seconds[i]), most = world.max(times.seconds[i]);
    const double mean = mean_seconds(world, zone);
    const double calls = world.max(static_cast<double>(times.calls[i]));
    if (calls == 0) continue;
    const std::string share = zone == Zone::kLoad || total == 0 ? "-" : fmt::format("{:.1f}", 100 * mean / total);
    table +=
        fmt::format("{:<16}{:>12.4f}{:>12.4f}{:>12.4f}{:>8}{:>10.0f}\n", name(zone), least, mean, most, share, calls);
  }
  const auto peaks_bytes = comm::gather_values(world, host::peak_memory_bytes());
  if (world.rank() != 0) return "";
  table += "peak memory (MiB) by rank:";
  for (const std::int64_t bytes : peaks_bytes)
    table += fmt::format(" {:.0f}", static_cast<double>(bytes) / static_cast<double>(kMiB));
  return table;
}

}  // namespace moesaic
