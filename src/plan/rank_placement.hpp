#pragma once

#include "plan/domains.hpp"
#include "plan/machine_model.hpp"

namespace moesaic::plan {

/// World ranks on nodes and NUMA domains, one after the other.
struct RankPlacement {
  int ranks_per_node = 1;
  int ranks_per_numa = 1;

  LinkClass between(WorldRank a, WorldRank b) const {
    if (a == b) return LinkClass::kSelf;
    if (node_of(a) != node_of(b)) return LinkClass::kNetwork;
    return numa_on_node(a) == numa_on_node(b) ? LinkClass::kNuma : LinkClass::kNode;
  }
  int node_of(WorldRank rank) const { return rank.value() / ranks_per_node; }
  int numa_on_node(WorldRank rank) const { return rank.value() % ranks_per_node / ranks_per_numa; }
  Range ranks_on_node_of(WorldRank rank) const {
    const int first = node_of(rank) * ranks_per_node;
    return {first, first + ranks_per_node};
  }
  /// The nodes of a stage's ranks.
  Domains nodes(const Grid& grid, StageId stage) const {
    std::vector<int> ids;
    for (const StageRank rank : grid.ranks()) ids.push_back(node_of(grid.in_world(stage, rank)));
    return Domains(ids);
  }
};

}  // namespace moesaic::plan
