#include "model/load_progress.hpp"

#include "base/log.hpp"

namespace moesaic {

void LoadProgress::report(std::int64_t done_bytes) {
  constexpr double kInterval_s = 10, kGiB = 1 << 30;
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  std::int64_t lines = num_lines_.load(std::memory_order_relaxed);
  if (seconds < kInterval_s * static_cast<double>(lines + 1)) return;
  // Of the threads that come at the same time, one prints; after a piece that took long, no line is made up for.
  if (!num_lines_.compare_exchange_strong(lines, static_cast<std::int64_t>(seconds / kInterval_s))) return;
  const auto done = static_cast<double>(done_bytes);
  spdlog::info("loading: {:.1f} of {:.1f} GiB, {:.1f} GB/s", done / kGiB, static_cast<double>(total_bytes_) / kGiB,
               done / seconds / 1e9);
}

}  // namespace moesaic
