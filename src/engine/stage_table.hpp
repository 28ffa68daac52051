#pragma once

#include <string>

#include "comm/mpi.hpp"

namespace moesaic {

/// Collective: seconds that the ranks spent in each stage of the forward pass (min, mean, max over ranks), the mean's
/// share of the time of all steps with their scheduling and sampling (loading, which comes before, has none), and its
/// calls, and each rank's peak memory, as lines of text on rank 0; empty elsewhere.
std::string stage_table(const comm::Communicator& world);

}  // namespace moesaic
