#pragma once

#include <string>

#include "comm/mpi.hpp"

namespace moesaic {

/// Collective: seconds that the ranks spent in each stage of the forward pass (min, mean, max over ranks) and its
/// calls, and each rank's peak memory, as lines of text on rank 0; empty elsewhere.
std::string stage_table(const comm::Communicator& world);

}  // namespace moesaic
