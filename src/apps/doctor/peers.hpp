#pragma once

#include "apps/doctor/judge.hpp"
#include "comm/mpi.hpp"

namespace moesaic::apps::doctor {

/// Collective: what messages cost between the first ranks of the nodes and inside each node, on rank 0. Beyond 16
/// nodes, or 16 ranks on one node, every so many are taken.
std::vector<PeerCost> measure_peers(const comm::Communicator& world, const comm::Communicator& node);

/// A table of latencies (above the diagonal) and rates (below); lines for people.
std::string peer_matrix(const std::vector<PeerCost>& peers, const std::vector<std::string>& hosts);

/// Collective: the clocks of the other nodes against rank 0's, on rank 0.
std::vector<ClockOffset> measure_clocks(const comm::Communicator& world, const comm::Communicator& node);

}  // namespace moesaic::apps::doctor
