#pragma once

#include <nlohmann/json_fwd.hpp>

#include "comm/mpi.hpp"

namespace moesaic::apps {

/// Collective, and rank 0's: what the ranks were and did. {"ranks": R, "hosts": {name: ranks}, "peak_memory_bytes":
/// {min, mean, max over ranks}, "stages": {name: {min_s, mean_s, max_s over ranks, calls}}}; stages that no rank had
/// are left out.
nlohmann::json figures_of_ranks(const comm::Communicator& world);

}  // namespace moesaic::apps
