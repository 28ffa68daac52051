#pragma once

namespace moesaic::comm {

/// The longest times that a rank waits for others, in seconds, before the job ends with a report.
struct WaitTimeouts {
  double loading_s = 300;  ///< while no RunningWaits has begun: nodes may read a model at very different speeds
  double running_s = 60;   ///< while RunningWaits has begun
};

/// Sets the timeouts of this process from now on.
void set_wait_timeouts(const WaitTimeouts& timeouts);
/// The timeout that holds now, in seconds.
double wait_timeout_s();

/// From begin() to its end of life WaitTimeouts::running_s holds, before and after it loading_s.
class RunningWaits {
 public:
  RunningWaits() = default;
  ~RunningWaits();
  RunningWaits(const RunningWaits&) = delete;
  RunningWaits& operator=(const RunningWaits&) = delete;
  void begin();
};

}  // namespace moesaic::comm
