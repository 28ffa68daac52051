#pragma once

#include <string>
#include <vector>

#include "comm/wait.hpp"

/// What every rank can tell about itself at any time, and what ends a job that stands still.
namespace moesaic::comm {

/// Before MPI_Init: from here on SIGUSR2 makes this process print what it does.
void start_watch();
/// Collective, after MPI_Init: from here on ranks can ask each other.
void join_watch();
/// Before MPI_Finalize.
void leave_watch();

/// What this rank waits for, and for how long already; null for nothing. Waits do not nest.
void set_waiting(const Wait* wait, const double* waited_s);

/// True when another rank has sent its report: its deadline has passed. Costs a poll.
bool somebody_asks();

/// Prints what this rank does, collects what the others do, prints who waits for whom on the lowest rank that is
/// alive, and ends the job within 15 s. error: of an MPI call, or empty. Reentered, it ends the job at once.
[[noreturn]] void diagnose(const std::string& error = "");

/// A call into MPI that blocks and has no other form. When it takes longer than the timeout this rank prints what it
/// does, and 5 s later it ends (the others will have told who waits for whom by then).
class BlockingCall {
 public:
  explicit BlockingCall(const char* call);  ///< a literal
  ~BlockingCall();
  BlockingCall(const BlockingCall&) = delete;
  BlockingCall& operator=(const BlockingCall&) = delete;
};

/// By rank of the world; of this process alone before join_watch().
const std::vector<std::string>& hosts();

}  // namespace moesaic::comm
