#pragma once

#include <csetjmp>
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

/// While a call into MPI blocks that has no other form: when it takes longer than the timeout, this rank prints what it
/// does; 5 s later it ends.
class BlockingCall {
 public:
  explicit BlockingCall(const char* name, sigjmp_buf* way_out = nullptr);  ///< a literal
  ~BlockingCall();
  BlockingCall(const BlockingCall&) = delete;
  BlockingCall& operator=(const BlockingCall&) = delete;
};

/// Between join_watch() and leave_watch(): `call` blocks so. After the timeout it is left by force for the diagnosis.
/// MPI may be in the midst of anything then; should it not answer any more, an alarm ends the job.
template <class Call>
void blocking_call(const char* name, Call&& call) {
  sigjmp_buf way_out;
  const BlockingCall guard(name, &way_out);
  if (sigsetjmp(way_out, 1) != 0) diagnose();
  call();
}

/// By rank of the world; of this process alone before join_watch().
const std::vector<std::string>& hosts();

}  // namespace moesaic::comm
