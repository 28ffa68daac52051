#pragma once

#include "plan/domains.hpp"
#include "plan/machine_model.hpp"

namespace moesaic::plan {

/// World ranks on nodes and NUMA domains, one after the other.
struct RankPlacement {
  int ranks_per_node = 1;
  int ranks_per_numa = 1;

  LinkClass between(int a, int b) const {
    if (a == b) return LinkClass::kSelf;
    if (a / ranks_per_node != b / ranks_per_node) return LinkClass::kNetwork;
    return a % ranks_per_node / ranks_per_numa == b % ranks_per_node / ranks_per_numa ? LinkClass::kNuma
                                                                                      : LinkClass::kNode;
  }
  Range node_of(int rank) const {
    const int first = rank / ranks_per_node * ranks_per_node;
    return {first, first + ranks_per_node};
  }
  /// The nodes of a stage's ranks.
  Domains nodes(const Grid& grid, int stage) const {
    std::vector<int> ids;
    for (int rank = 0; rank < grid.ranks_per_stage(); ++rank)
      ids.push_back(index(grid.in_world(stage, StageRank{rank})) / ranks_per_node);
    return Domains(ids);
  }
};

}  // namespace moesaic::plan
