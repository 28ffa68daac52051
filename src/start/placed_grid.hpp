#pragma once

#include "comm/mpi.hpp"
#include "plan/placement_file.hpp"

namespace moesaic {

/// Collective over the job: the text of the file that is asked for, empty where none is. Rank 0 reads it, its Error is
/// that of all.
std::string placement_text(const comm::Communicator& world, const plan::PlacementRequest& request);

/// Collective over the job: the grid with the experts' copies that are asked for. Rank 0 reads the file, all take over
/// its text; its Error is that of all. node_ranks: as in DispatchRequest. Says which copies there are.
plan::Grid placed_grid(const comm::Communicator& world, const ModelConfig& config, const plan::Layout& layout,
                       const plan::PlacementRequest& request, int node_ranks);

}  // namespace moesaic
