#pragma once

#include <string>
#include <vector>

#include "comm/mpi.hpp"
#include "host/placement.hpp"

namespace moesaic {

/// Threads for this rank: `asked` when positive, else host::threads_per_rank(). Collective over the ranks of a node.
int threads_per_rank(const comm::Communicator& node, int asked);

/// Outcome of making a rank's team of threads.
struct TeamReport {
  std::string placement;              ///< of the node's ranks, for the header of a run
  std::vector<std::string> warnings;  ///< to this rank: too many threads, processors shared, binding refused
};

/// Makes the team of threads that this rank's kernels use from now on: bound as host::place() says, each flushing
/// denormals, waiting for each other actively when all of them have a processor of their own. Collective over the ranks
/// of a node. Error: --bind cores without the processors.
TeamReport set_threads(const comm::Communicator& node, int num_threads, host::Bind bind = host::Bind::kAuto);

/// Collective over the job: rank 0 logs what warnings there are, each once with the ranks that have it.
void log_warnings(const comm::Communicator& world, const std::vector<std::string>& warnings);

}  // namespace moesaic
