#include "host/progress.hpp"

#include <utility>

#include "base/log.hpp"

namespace moesaic::host {

Progress::Progress(std::string what, std::int64_t total_bytes, std::chrono::seconds interval)
    : what_(std::move(what)), total_bytes_(total_bytes), interval_(interval) {}

void Progress::report(std::int64_t done_bytes) {
  const auto now = Clock::now();
  Clock::time_point last = last_;
  if (now - last < interval_ || done_bytes <= 0 || !last_.compare_exchange_strong(last, now)) return;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double rate = static_cast<double>(done_bytes) / seconds;
  const double left = static_cast<double>(total_bytes_ - done_bytes) / rate;
  spdlog::info("{} {:3.0f} %: {} of {}, {:.2f} GB/s, {:.0f} s left", what_,
               100.0 * static_cast<double>(done_bytes) / static_cast<double>(total_bytes_), readable_bytes(done_bytes),
               readable_bytes(total_bytes_), rate * 1e-9, left);
}

std::string readable_bytes(std::int64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (value < 1e3) return fmt::format("{} B", bytes);
  if (value < 1e6) return fmt::format("{:.2f} kB", value * 1e-3);
  if (value < 1e9) return fmt::format("{:.2f} MB", value * 1e-6);
  return fmt::format("{:.2f} GB", value * 1e-9);
}

}  // namespace moesaic::host
