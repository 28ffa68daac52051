#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

namespace moesaic::host {

/// Logs how far a transfer is, its rate and the time left, at most once in an interval, first after one (the log prints
/// rank 0's lines only).
class Progress {
 public:
  Progress(std::string what, std::int64_t total_bytes, std::chrono::seconds interval = std::chrono::seconds(1));
  /// Says that done_bytes of all have been moved; any thread may, and of those that come at the same time one logs.
  void report(std::int64_t done_bytes);

 private:
  using Clock = std::chrono::steady_clock;
  std::string what_;
  std::int64_t total_bytes_;
  std::chrono::seconds interval_;
  Clock::time_point start_ = Clock::now();
  std::atomic<Clock::time_point> last_ = start_;
};

/// A number of bytes for people, in powers of ten: "1.23 GB".
std::string readable_bytes(std::int64_t bytes);

}  // namespace moesaic::host
