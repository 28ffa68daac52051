#include "engine/stage_table.hpp"

#include "base/trace.hpp"
#include "device/machine.hpp"

namespace moesaic {

std::string stage_table(const comm::Communicator& world) {
  std::string table =
      fmt::format("{:<16}{:>12}{:>12}{:>12}{:>10}\n", "stage", "min (s)", "mean (s)", "max (s)", "calls");
  const ZoneTimes& times = zone_times();
  for (std::size_t i = 0; i < kNumZones; ++i) {
    const double seconds = times.seconds[i];
    const double least = world.min(seconds), most = world.max(seconds), mean = world.sum(seconds) / world.size();
    const double calls = world.max(static_cast<double>(times.calls[i]));
    if (calls > 0)
      table += fmt::format("{:<16}{:>12.4f}{:>12.4f}{:>12.4f}{:>10.0f}\n", name(static_cast<Zone>(i)), least, mean,
                           most, calls);
  }
  const std::int64_t peak_bytes = device::peak_memory_bytes();
  const auto peaks = world.gather(std::as_bytes(std::span(&peak_bytes, 1)), 0);
  if (world.rank() != 0) return "";
  table += "peak memory (MiB) by rank:";
  for (const auto& bytes : peaks)
    table +=
        fmt::format(" {:.0f}", static_cast<double>(*reinterpret_cast<const std::int64_t*>(bytes.data())) / (1 << 20));
  return table;
}

}  // namespace moesaic
