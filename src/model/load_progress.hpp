#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace moesaic {

/// Logs every 10 seconds how far loading is and at what rate; nothing for loads that take less.
class LoadProgress {
 public:
  explicit LoadProgress(std::int64_t total_bytes) : total_bytes_(total_bytes) {}

  /// After every piece, by any thread.
  void report(std::int64_t done_bytes);

 private:
  using Clock = std::chrono::steady_clock;
  const std::int64_t total_bytes_;
  const Clock::time_point start_ = Clock::now();
  std::atomic<std::int64_t> num_lines_{0};
};

}  // namespace moesaic
