#pragma once

#include <chrono>
#include <vector>

#include "comm/mpi.hpp"

/// Waiting that ends: every wait of this project polls, so that it can see its deadline pass, and knows whom it waits
/// for. Nothing blocks inside MPI.
namespace moesaic::comm {

/// What a wait is for.
struct Wait {
  const char* operation;          ///< a literal: "broadcast"
  const std::vector<int>* peers;  ///< world ranks that have still to do their part; null: any rank of `comm`
  const Communicator& comm;
};

/// Longest time that a wait may take from now on.
void set_wait_timeout(std::chrono::duration<double> timeout);

/// Runs while a wait takes longer than one poll. Ends the job with a diagnosis when the deadline passes.
class Deadline {
 public:
  explicit Deadline(const Wait& wait);
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  void check();

 private:
  using Clock = std::chrono::steady_clock;
  const Wait& wait_;
  Clock::time_point start_;
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
