#pragma once

#include "comm/mpi.hpp"
#include "plan/exchange_cost.hpp"

/// What messages between the ranks of a job cost, by how near they are to each other.
namespace moesaic::measure {

/// Where the ranks of a job are.
struct RankSites {
  std::vector<int> node, numa;  ///< indexed by world rank: the first world rank of its node; its NUMA domain

  plan::LinkClass between(int a, int b) const;
  /// The most ranks that any node has, and any domain.
  plan::RankPlacement placement() const;
};

/// Collective: asks all ranks where they are.
RankSites rank_sites(const comm::Communicator& world);

/// Between ranks a and b, who alone need to call it: the median over `num_samples` of the microseconds one way, on
/// both.
double ping_pong_us(const comm::Communicator& world, int a, int b, std::size_t size_bytes, int round_trips,
                    int num_samples);

/// Collective: ping-pongs of one pair of ranks of each class, then exchanges of all at once. Classes that the job does
/// not have are taken from the nearest one that it has, the network from `fallback`; they are not marked as measured.
void measure_links(const comm::Communicator& world, const RankSites& sites, const plan::Machine& fallback,
                   plan::Machine& machine);

}  // namespace moesaic::measure
