#include "plan/domains.hpp"

#include <algorithm>
#include <numeric>

#include "base/error.hpp"

namespace moesaic::plan {
namespace {

bool siblings(Range left, Range right) {
  return left.size() == right.size() && left.begin % (2 * left.size()) == 0 && left.end == right.begin;
}

/// Joins neighbours of one domain while they make a complete subtree.
std::vector<Fragment> fragments_of(const Grid& grid, const Domains& domains, SubsetId subset) {
  std::vector<Fragment> fragments;
  for (const SliceId slice : grid.slices()) {
    const StageRank holder = grid.holder(subset, slice);
    fragments.push_back({domains.domain(holder), grid.expert_leaves()[slice], {holder}, {}});
    while (fragments.size() >= 2) {
      Fragment& left = fragments[fragments.size() - 2];
      const Fragment& right = fragments.back();
      if (left.domain != right.domain || !siblings(left.leaves, right.leaves)) break;
      const int offset = static_cast<int>(left.holders.size());
      for (const auto& [into, from] : right.merges) left.merges.push_back({into + offset, from + offset});
      left.merges.push_back({0, offset});
      left.holders.insert(left.holders.end(), right.holders.begin(), right.holders.end());
      left.leaves.end = right.leaves.end;
      fragments.pop_back();
    }
  }
  return fragments;
}

}  // namespace

Domains::Domains(std::span<const int> ids) {
  std::vector<int> seen;
  for (const int id : ids) {
    const StageRank rank(domains_.size());
    const auto found = std::find(seen.begin(), seen.end(), id);
    const DomainId domain(found - seen.begin());
    if (found == seen.end()) {
      seen.push_back(id);
      members_.emplace_back();
    }
    domains_.push_back(domain);
    places_.push_back(MemberId(members_[domain].size()));
    members_[domain].push_back(rank);
  }
}

Domains Domains::alone(int num_ranks) {
  std::vector<int> ids(static_cast<std::size_t>(num_ranks));
  std::iota(ids.begin(), ids.end(), 0);
  return Domains(ids);
}

StageRank Domains::relay(DomainId domain, StageRank owner) const {
  const auto& there = members(domain);
  return there[MemberId(place(owner).value() % there.size())];
}

IdVector<SubsetId, SubsetTree> subset_trees(const Grid& grid, const Domains& domains) {
  MOESAIC_CHECK(domains.num_ranks() == grid.ranks_per_stage(), "domains of {} ranks, {} in a stage",
                domains.num_ranks(), grid.ranks_per_stage());
  IdVector<SubsetId, SubsetTree> trees(grid.layout().ep);
  for (const SubsetId subset : grid.subsets()) {
    SubsetTree& tree = trees[subset];
    tree.fragments = fragments_of(grid, domains, subset);
    std::vector<Range> leaves;
    for (const Fragment& fragment : tree.fragments) leaves.push_back(fragment.leaves);
    tree.merges = finish_tree(leaves);
  }
  return trees;
}

}  // namespace moesaic::plan
