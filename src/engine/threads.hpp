#pragma once

#include <string>

#include "comm/mpi.hpp"
#include "device/placement.hpp"

namespace moesaic {

/// Makes the team of threads that this rank's kernels use from now on: bound as device::place() says, each flushing
/// denormals, waiting for each other actively when all of them have a processor of their own. Collective over the ranks
/// of a node. Returns what was chosen for these ranks, for the header of a run. Error: --bind cores without the
/// processors.
std::string set_threads(const comm::Communicator& node, int num_threads, device::Bind bind = device::Bind::kAuto);

}  // namespace moesaic
