#include "plan/expected_routing.hpp"

#include <span>
#include <utility>

namespace moesaic::plan {
namespace {

/// The sum over all sets of `active` experts of the product of their `stays`.
double sum_over_sets(const IdVector<ExpertId, double>& stays, std::int64_t active) {
  std::vector<double> sums(static_cast<std::size_t>(active + 1));
  sums[0] = 1;
  for (const double factor : stays)
    for (std::size_t k = sums.size() - 1; k > 0; --k) sums[k] += factor * sums[k - 1];
  return sums.back();
}

/// A layer, seen from the rows of a node.
class View {
 public:
  View(const Grid& grid, ModelLayer layer, const NearSubsets& near)
      : grid_(grid),
        layer_(layer),
        choices_(turn_shares(grid.placement(), layer, near)),
        num_sets_(sum_over_sets(everywhere(), grid.config().num_selected_experts)) {}

  /// Share of an expert's rows that goes to this slot, one of its copies, 0 to 1.
  double choice(SlotId slot) const { return choices_[slot]; }

  /// Probability that one of a row's experts is chosen in the subsets that `takes_part` names.
  template <class TakesPart>
  double reaches(TakesPart&& takes_part) const {
    const Placement& placement = grid_.placement();
    IdVector<ExpertId, double> stays = everywhere();
    for (const ExpertId expert : stays.ids())
      for (const SlotId slot : placement.slots_of(layer_, expert))
        if (takes_part(placement.subset_of_slot(slot))) stays[expert] -= choice(slot);
    return 1 - sum_over_sets(stays, grid_.config().num_selected_experts) / num_sets_;
  }

  double terms(SubsetId subset) const {
    double sum = 0;
    for (const SlotId slot : grid_.placement().slots(subset)) sum += choice(slot);
    return sum * static_cast<double>(grid_.config().num_selected_experts) /
           static_cast<double>(grid_.placement().num_experts());
  }

 private:
  IdVector<ExpertId, double> everywhere() const {
    return IdVector<ExpertId, double>(grid_.placement().num_experts(), 1);
  }

  const Grid& grid_;
  ModelLayer layer_;
  IdVector<SlotId, double> choices_;
  double num_sets_;  // of a row's experts
};

}  // namespace

ExpectedRouting::ExpectedRouting(const Grid& grid, const Domains& nodes)
    : from_(nodes.size(),
            {IdVector<SubsetId, double>(grid.layout().ep), IdVector<SubsetId, double>(grid.layout().ep)}) {
  const Placement& placement = grid.placement();
  const int etp = grid.layout().etp, ranks = grid.ranks_per_stage();
  const auto near = subsets_near(grid, nodes);
  const double each_layer = 1 / static_cast<double>(placement.num_layers());
  const double pairs_of_nodes = static_cast<double>(nodes.size()) * (nodes.size() - 1);
  for (const StageRank rank : grid.ranks()) node_of_.push_back(nodes.domain(rank));
  shares_.assign(placement.num_layers(), IdVector<SlotId, double>(placement.num_slots()));
  for (const DomainId node : nodes.ids()) {
    FromNode& from = from_[node];
    const double of_rows = static_cast<double>(nodes.members(node).size()) / ranks;
    for (const ModelLayer layer : shares_.ids()) {
      const View view(grid, layer, near[node]);
      for (const SlotId slot : shares_[layer].ids()) shares_[layer][slot] += of_rows * view.choice(slot);
      for (const SubsetId subset : grid.subsets()) {
        from.reaches[subset] += each_layer * view.reaches([&](SubsetId s) { return s == subset; });
        from.terms[subset] += each_layer * view.terms(subset);
      }
      for (const DomainId other : nodes.ids())
        if (other != node)
          reaches_node_ += each_layer / pairs_of_nodes * view.reaches([&](SubsetId s) { return near[other][s] != 0; });
    }
  }
  double num_beside = 0, num_across = 0;
  for (const StageRank owner : grid.ranks())
    for (const StageRank rank : grid.ranks()) {
      if (rank == owner) continue;
      const bool same = node_of_[rank] == node_of_[owner];
      Pair& pair = same ? beside_ : across_;
      ++(same ? num_beside : num_across);
      pair.reaches += reaches(owner, grid.subset(rank));
      pair.terms += terms(owner, grid.subset(rank));
    }
  away_ = across_.terms / (static_cast<double>(ranks) * etp * static_cast<double>(grid.config().num_selected_experts));
  for (const auto& [pair, num] : {std::pair{&beside_, num_beside}, {&across_, num_across}})
    if (num > 0) pair->reaches /= num, pair->terms /= num;
}

}  // namespace moesaic::plan
