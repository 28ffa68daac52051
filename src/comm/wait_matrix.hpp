#pragma once

#include <string>

#include "comm/mpi.hpp"

namespace moesaic::comm {

/// Table (markdown) of the seconds that each rank has waited for each other one since count_waits() of comm/wait.hpp.
/// Collective; rank 0 gets the text, other ranks an empty one, as does rank 0 when waits were not counted.
std::string wait_matrix(const Communicator& world);

}  // namespace moesaic::comm
