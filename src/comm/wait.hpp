#pragma once

#include <chrono>
#include <vector>

#include "comm/mpi_call.hpp"
#include "comm/wait_timeouts.hpp"
#include "comm/watch.hpp"

/// Waiting that ends: every wait of this project polls, so that it can see its deadline pass, and knows whom it waits
/// for. Nothing blocks inside MPI but the calls that have no other form (comm/watch.hpp).
namespace moesaic::comm {

/// While it lives, nothing is in a hurry: waits sleep a millisecond between two polls, and the cores rest.
class PatientWaits {
 public:
  PatientWaits();
  ~PatientWaits();
  PatientWaits(const PatientWaits&) = delete;
  PatientWaits& operator=(const PatientWaits&) = delete;
};

/// From now on the seconds that this rank waits are summed by the rank that it waits for.
void count_waits();
/// The seconds that this rank has waited since count_waits(), indexed by world rank; the last element is of waits for
/// all ranks together. Empty when count_waits() was not called.
const std::vector<double>& counted_waits_s();

/// Runs while a wait takes longer than one poll. Ends the job with a diagnosis when the deadline passes, or when
/// another rank's has passed. Time in which this process was stopped does not count.
class Deadline {
 public:
  explicit Deadline(const Wait& wait);
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  void check() {
    if (const auto now = Clock::now(); now >= next_look_) look(now);
    if (patient_) rest();
  }

 private:
  using Clock = std::chrono::steady_clock;
  void look(Clock::time_point now);
  static void rest();
  Clock::time_point last_look_, next_look_;
  double waited_s_ = 0;
  bool patient_;
};

/// Calls poll() until it returns true.
template <class Poll>
void wait_until(const Wait& wait, Poll&& poll) {
  if (poll()) return;
  Deadline deadline(wait);
  while (!poll()) deadline.check();
}

/// Waits until the request is done.
void wait_for(MPI_Request& request, const Wait& wait);

}  // namespace moesaic::comm
