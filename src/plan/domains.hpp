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
  IdRange<DomainId> ids() const { return members_.ids(); }
  int num_ranks() const { return static_cast<int>(domains_.size()); }
  IdRange<StageRank> ranks() const { return domains_.ids(); }
  DomainId domain(StageRank rank) const { return domains_[rank]; }
  /// Position of a rank in the member list of its domain.
  MemberId place(StageRank rank) const { return places_[rank]; }
  const IdVector<MemberId, StageRank>& members(DomainId domain) const { return members_[domain]; }
  /// The member that takes an owner's rows for its domain and sends back their terms: at the same place, so that all
  /// members carry a share.
  StageRank relay(DomainId domain, StageRank owner) const;

 private:
  IdVector<StageRank, DomainId> domains_;
  IdVector<StageRank, MemberId> places_;
  IdVector<DomainId, IdVector<MemberId, StageRank>> members_;
};

/// One partial sum that a domain makes of an expert's leaves: a complete subtree of them.
struct Fragment {
  DomainId domain;
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

/// The summation tree of each expert subset.
IdVector<SubsetId, SubsetTree> subset_trees(const Grid& grid, const Domains& domains);

}  // namespace moesaic::plan
