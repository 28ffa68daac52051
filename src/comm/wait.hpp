#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "comm/mpi.hpp"

/// Waiting that ends: every wait of this project polls, so that it can see its deadline pass, and knows whom it waits
/// for. Nothing blocks inside MPI but the calls that have no other form (comm/watch.hpp).
namespace moesaic::comm {

/// What a wait is for.
struct Wait {
  const char* operation;          ///< a literal: "broadcast"
  const std::vector<int>* peers;  ///< world ranks that have still to do their part; null: any rank of `comm`
  const Communicator& comm;
  int num_awaited = 0;  ///< peers at the begin of the operation; 0: not told
};

/// The longest times that waits may take, in seconds.
struct WaitTimeouts {
  double loading_s = 300;  ///< outside of RunningWaits: nodes may read at very different speeds
  double running_s = 60;
};

/// From now on.
void set_wait_timeouts(const WaitTimeouts& timeouts);
double wait_timeout_s();

/// After begin() and while it lives, the timeout is the one of running.
class RunningWaits {
 public:
  RunningWaits() = default;
  ~RunningWaits();
  RunningWaits(const RunningWaits&) = delete;
  RunningWaits& operator=(const RunningWaits&) = delete;
  void begin();
};

/// While it lives, nothing is in a hurry: waits sleep a millisecond between two polls, and the cores rest.
class PatientWaits {
 public:
  PatientWaits();
  ~PatientWaits();
  PatientWaits(const PatientWaits&) = delete;
  PatientWaits& operator=(const PatientWaits&) = delete;
};

/// From now on, seconds waited are summed by peer.
void count_waits();
/// Collective: they, as a table of all ranks (markdown); rank 0's, empty elsewhere and without
/// count_waits().
std::string wait_matrix(const Communicator& world);

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

/// Until the request is done.
void wait_for(MPI_Request& request, const Wait& wait);

}  // namespace moesaic::comm
