#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "engine/metrics.hpp"

namespace moesaic::apps {

/// Tells when so much time has passed since it told so last, or since it was made.
class Interval {
 public:
  explicit Interval(std::chrono::milliseconds length) : length_(length) {}
  bool due();

 private:
  using Clock = std::chrono::steady_clock;
  std::chrono::milliseconds length_;
  Clock::time_point last_ = Clock::now();
};

/// Tells when a job is to stop by itself: its time is over, or a file asks for it.
class StopLimit {
 public:
  /// output: OUTPUT.stop, and STOP in its folder, stop the job.
  StopLimit(const std::string& output, std::optional<std::chrono::seconds> max_time);

  /// The reason to stop now. Files are looked for twice a second.
  std::optional<std::string> reached();
  /// Seconds until the time is over; nothing: there is no limit.
  std::optional<double> seconds_left() const;
  /// Error when a file asks to stop already.
  void check_files() const;

 private:
  using Clock = std::chrono::steady_clock;
  std::optional<std::string> stop_file() const;

  std::string files_[2];
  std::optional<Clock::time_point> end_;
  Interval look_{std::chrono::milliseconds(500)};
};

/// A line every 10 s: requests done, tokens a second, time left.
class BatchProgress {
 public:
  BatchProgress(std::int64_t num_requests, std::int64_t num_done, const StopLimit& limit)
      : num_requests_(num_requests), num_done_at_start_(num_done), limit_(limit) {}
  void report(std::int64_t num_done, const Metrics& metrics);
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  std::int64_t num_requests_, num_done_at_start_;
  const StopLimit& limit_;
  Interval interval_{std::chrono::seconds(10)};
  Clock::time_point start_ = Clock::now(), last_ = start_;
  std::int64_t last_tokens_ = 0;
};

/// "1:02:03"
std::string readable_time(double seconds);

}  // namespace moesaic::apps
