#pragma once

#include <mpi.h>

#include <csetjmp>
#include <string>
#include <vector>

/// What every rank can tell about itself at any time, and what ends a job that stands still.
namespace moesaic::comm {

/// What a wait is for.
struct Wait {
  const char* operation;            ///< a literal: "broadcast"
  const std::vector<int>* peers;    ///< world ranks that have still to do their part; null: any of `members`
  const std::vector<int>& members;  ///< world ranks of the communicator
  int num_awaited = 0;              ///< peers at the begin of the operation; 0: not told
};

/// Means against a job that stands still which end more than a library may end on its own account, so a program has to
/// ask for them; `moesaic` does.
struct LastResorts {
  /// A call into MPI that has no polling form (blocking_call()) and does not return within the timeout is left by a
  /// jump out of the handler of SIGALRM, so that this rank can still tell and collect who waits for whom. MPI's own
  /// state is lost with it, but the job ends right after. Without this the rank prints its own report and ends.
  bool leave_blocked_calls = false;
  /// When this rank ends the job, mpirun is ended too: see end_job() in comm/end_job.hpp.
  bool end_launcher = false;
};

/// Before MPI_Init: from here on SIGUSR2 makes this process print what it does.
void start_watch(LastResorts last_resorts);
/// After MPI_Init: from here on ranks can ask each other. reports: a communicator of all ranks for that alone; the
/// watch frees it.
void join_watch(MPI_Comm reports);
/// Tells the names of the nodes, indexed by world rank.
void name_hosts(std::vector<std::string> hosts);
/// Before MPI_Finalize.
void leave_watch();

/// Says what this rank waits for from now on, and where the seconds that it has waited are counted; null: for nothing.
/// Waits do not nest.
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
  /// name: a literal. way_out: where to go on when the call does not return, if LastResorts allow it.
  explicit BlockingCall(const char* name, sigjmp_buf* way_out = nullptr);
  ~BlockingCall();
  BlockingCall(const BlockingCall&) = delete;
  BlockingCall& operator=(const BlockingCall&) = delete;
};

/// Makes a call that blocks, between join_watch() and leave_watch(). With LastResorts::leave_blocked_calls it is left
/// by force after the timeout, for the diagnosis. MPI may be in the midst of anything then; should it not answer any
/// more, an alarm ends the job.
template <class Call>
void blocking_call(const char* name, Call&& call) {
  sigjmp_buf way_out;
  const BlockingCall guard(name, &way_out);
  if (sigsetjmp(way_out, 1) != 0) diagnose();
  call();
}

/// Names of the nodes, indexed by world rank; this process's node alone before name_hosts().
const std::vector<std::string>& hosts();

}  // namespace moesaic::comm
