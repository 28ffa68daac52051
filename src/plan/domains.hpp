#pragma once

#include <span>
#include <vector>

#include "plan/grid.hpp"
#include "plan/leaf_tree.hpp"

namespace moesaic::plan {

/// The ranks of a stage in groups that see each other's memory: the ranks of a node, or each rank alone. A row goes to
/// a domain once, and a domain sends back what it has completed.
class Domains {
 public:
  /// ids[rank] is any number for each rank of the stage; ranks with equal numbers share a domain.
  explicit Domains(std::span<const int> ids);
  /// Domains of one rank each.
  static Domains alone(int num_ranks);

  int size() const { return static_cast<int>(members_.size()); }
  int num_ranks() const { return static_cast<int>(domains_.size()); }
  int domain(StageRank rank) const { return domains_[static_cast<std::size_t>(index(rank))]; }
  /// Position of a rank in the member list of its domain.
  int place(StageRank rank) const { return places_[static_cast<std::size_t>(index(rank))]; }
  const std::vector<StageRank>& members(int domain) const { return members_[static_cast<std::size_t>(domain)]; }
  /// The member that takes an owner's rows for its domain and sends back their terms: at the same place, so that all
  /// members carry a share.
  StageRank relay(int domain, StageRank owner) const;

 private:
  std::vector<int> domains_, places_;  // indexed by rank
  std::vector<std::vector<StageRank>> members_;
};

/// One partial sum that a domain makes of an expert's leaves: a complete subtree of them.
struct Fragment {
  int domain = 0;
  Range leaves;
  std::vector<StageRank> holders;  ///< the ranks that hold the slices of these leaves, ascending
  std::vector<Merge> merges;       ///< additions that join the slices' sums; the result ends in the first slice's sum
};

/// How the experts of a subset come together: inside the domains first, the rest at the owner of the row.
struct SubsetTree {
  std::vector<Fragment> fragments;                         ///< in the order of their leaves
  std::vector<Merge> merges;                               ///< additions of the fragments' sums, at the row's owner
  bool complete() const { return fragments.size() == 1; }  ///< one domain has the whole expert
};

/// The summation tree of each expert subset; the result is indexed by subset.
std::vector<SubsetTree> subset_trees(const Grid& grid, const Domains& domains);

}  // namespace moesaic::plan
