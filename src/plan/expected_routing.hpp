#pragma once

#include "plan/slot_choice.hpp"

namespace moesaic::plan {

/// Where rows go under uniform routing: any set of a row's experts is as likely as any other, and an expert's copies
/// take turns (plan/slot_choice.hpp). Expected values, means over the layers that the placement tells apart.
class ExpectedRouting {
 public:
  /// nodes: the nodes of the stage's ranks.
  ExpectedRouting(const Grid& grid, const Domains& nodes);

  /// Probability that a row of `owner` goes to a subset.
  double reaches(StageRank owner, SubsetId subset) const { return from_[node_of_[owner]].reaches[subset]; }
  /// Expected number of the experts of a row of `owner` that are chosen in a subset.
  double terms(StageRank owner, SubsetId subset) const { return from_[node_of_[owner]].terms[subset]; }

  /// A row of one rank and another rank.
  struct Pair {
    double reaches = 0;  ///< probability that the row goes there
    double terms = 0;    ///< expected number of its experts that are chosen there
  };
  /// Means over all pairs on the same node, and on two nodes.
  const Pair& beside() const { return beside_; }
  const Pair& across() const { return across_; }
  /// Mean over all pairs of nodes: the probability that a row of one goes to the other. 0 where there is one node.
  double reaches_node() const { return reaches_node_; }
  /// Share of the expert slices that a row is sent to which lie on another node than the row itself, 0 to 1.
  double away() const { return away_; }
  /// Share of an expert's rows that its copy in `slot` of a layer gets, 0 to 1.
  double share(ModelLayer layer, SlotId slot) const {
    return shares_[shares_.size() == 1 ? ModelLayer(0) : layer][slot];
  }

 private:
  /// What holds for the rows of one node.
  struct FromNode {
    IdVector<SubsetId, double> reaches, terms;
  };
  IdVector<DomainId, FromNode> from_;  // indexed by node
  IdVector<StageRank, DomainId> node_of_;
  IdVector<ModelLayer, IdVector<SlotId, double>> shares_;
  Pair beside_, across_;
  double reaches_node_ = 0, away_ = 0;
};

}  // namespace moesaic::plan
