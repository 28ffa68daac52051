#pragma once

#include <string>

#include "apps/doctor/finding.hpp"
#include "comm/mpi.hpp"

namespace moesaic::apps::doctor {

/// Collective: the file system of a folder, on rank 0: its kind and room, rates of a small file, and whether all nodes
/// see what one has written. Leaves nothing in it.
Findings check_folder(const comm::Communicator& world, const comm::Communicator& node, const std::string& folder);

}  // namespace moesaic::apps::doctor
