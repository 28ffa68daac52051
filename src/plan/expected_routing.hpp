#pragma once

#include "plan/slot_choice.hpp"

namespace moesaic::plan {

/// Where rows go under uniform routing: any set of a row's experts is as likely as any other, and an expert's copies
/// take turns (plan/slot_choice.hpp). Expected values, means over the layers that the placement tells apart.
class ExpectedRouting {
 public:
  /// nodes: of the stage's ranks.
  ExpectedRouting(const Grid& grid, const Domains& nodes);

  /// Probability that a row of `owner` goes to a subset.
  double reaches(StageRank owner, int subset) const;
  /// The number of its experts that are chosen there.
  double terms(StageRank owner, int subset) const;

  /// Mean over all owners and other ranks: the probability that a row goes there.
  double reaches_rank() const { return reaches_rank_; }
  /// Mean over all pairs of nodes: the probability that a row of one goes to the other. 0 where there is one node.
  double reaches_node() const { return reaches_node_; }
  /// Of a row's experts' slices, the part on other nodes than the row's.
  double away() const { return away_; }
  /// Of an expert's rows, those that its copy in `slot` of a layer gets.
  double share(std::int64_t layer, std::int32_t slot) const;

 private:
  /// By a row's node.
  struct FromNode {
    std::vector<double> reaches, terms;  // by subset
  };
  std::vector<FromNode> from_;
  std::vector<int> node_of_;                 // by rank
  std::vector<std::vector<double>> shares_;  // by layer and slot
  double reaches_rank_ = 0, reaches_node_ = 0, away_ = 0;
};

}  // namespace moesaic::plan
