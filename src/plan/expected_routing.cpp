#include "plan/expected_routing.hpp"

#include <span>
#include <utility>

namespace moesaic::plan {
namespace {

double at(const std::vector<double>& values, std::int64_t i) { return values[static_cast<std::size_t>(i)]; }
double& at(std::vector<double>& values, std::int64_t i) { return values[static_cast<std::size_t>(i)]; }

/// The sum over all sets of `active` experts of the product of their `stays`.
double sum_over_sets(std::span<const double> stays, std::int64_t active) {
  std::vector<double> sums(static_cast<std::size_t>(active + 1));
  sums[0] = 1;
  for (const double factor : stays)
    for (std::size_t k = sums.size() - 1; k > 0; --k) sums[k] += factor * sums[k - 1];
  return sums.back();
}

/// A layer, seen from the rows of a node.
class View {
 public:
  View(const Grid& grid, std::int64_t layer, const std::vector<char>& near)
      : grid_(grid),
        layer_(layer),
        choices_(turn_shares(grid.placement(), layer, near)),
        num_sets_(sum_over_sets(everywhere(), grid.config().num_selected_experts)) {}

  /// Of an expert's rows, those that go to this slot.
  double choice(std::int64_t slot) const { return at(choices_, slot); }

  /// Probability that one of a row's experts is chosen in the subsets that `takes_part` names.
  template <class TakesPart>
  double reaches(TakesPart&& takes_part) const {
    const Placement& placement = grid_.placement();
    std::vector<double> stays = everywhere();
    for (std::int64_t e = 0; e < placement.num_experts(); ++e)
      for (const std::int32_t slot : placement.slots_of(layer_, e))
        if (takes_part(placement.subset_of_slot(slot))) at(stays, e) -= choice(slot);
    return 1 - sum_over_sets(stays, grid_.config().num_selected_experts) / num_sets_;
  }

  double terms(int subset) const {
    const Range slots = grid_.placement().slots(subset);
    double sum = 0;
    for (auto slot = slots.begin; slot < slots.end; ++slot) sum += choice(slot);
    return sum * static_cast<double>(grid_.config().num_selected_experts) /
           static_cast<double>(grid_.placement().num_experts());
  }

 private:
  std::vector<double> everywhere() const {
    return std::vector<double>(static_cast<std::size_t>(grid_.placement().num_experts()), 1);
  }

  const Grid& grid_;
  std::int64_t layer_;
  std::vector<double> choices_;  // by slot
  double num_sets_;              // of a row's experts
};

}  // namespace

ExpectedRouting::ExpectedRouting(const Grid& grid, const Domains& nodes)
    : from_(static_cast<std::size_t>(nodes.size())) {
  const Placement& placement = grid.placement();
  const int ep = grid.layout().ep, etp = grid.layout().etp, ranks = grid.ranks_per_stage();
  const auto near = subsets_near(grid, nodes);
  const double each_layer = 1 / static_cast<double>(placement.num_layers());
  const double pairs_of_nodes = static_cast<double>(nodes.size()) * (nodes.size() - 1);
  for (int r = 0; r < ranks; ++r) node_of_.push_back(nodes.domain(StageRank{r}));
  shares_.assign(static_cast<std::size_t>(placement.num_layers()),
                 std::vector<double>(static_cast<std::size_t>(placement.num_slots())));
  for (int node = 0; node < nodes.size(); ++node) {
    FromNode& from = from_[static_cast<std::size_t>(node)];
    from.reaches.resize(static_cast<std::size_t>(ep));
    from.terms.resize(static_cast<std::size_t>(ep));
    const double of_rows = static_cast<double>(nodes.members(node).size()) / ranks;
    for (std::int64_t layer = 0; layer < placement.num_layers(); ++layer) {
      const View view(grid, layer, near[static_cast<std::size_t>(node)]);
      for (std::int64_t slot = 0; slot < placement.num_slots(); ++slot)
        at(shares_[static_cast<std::size_t>(layer)], slot) += of_rows * view.choice(slot);
      for (int subset = 0; subset < ep; ++subset) {
        at(from.reaches, subset) += each_layer * view.reaches([&](int s) { return s == subset; });
        at(from.terms, subset) += each_layer * view.terms(subset);
      }
      for (int other = 0; other < nodes.size(); ++other)
        if (other != node)
          reaches_node_ += each_layer / pairs_of_nodes * view.reaches([&](int s) {
            return near[static_cast<std::size_t>(other)][static_cast<std::size_t>(s)] != 0;
          });
    }
  }
  double num_beside = 0, num_across = 0;
  for (int owner = 0; owner < ranks; ++owner)
    for (int rank = 0; rank < ranks; ++rank) {
      if (rank == owner) continue;
      const bool same = node_of_[static_cast<std::size_t>(rank)] == node_of_[static_cast<std::size_t>(owner)];
      Pair& pair = same ? beside_ : across_;
      ++(same ? num_beside : num_across);
      pair.reaches += reaches(StageRank{owner}, grid.subset(StageRank{rank}));
      pair.terms += terms(StageRank{owner}, grid.subset(StageRank{rank}));
    }
  away_ = across_.terms / (static_cast<double>(ranks) * etp * static_cast<double>(grid.config().num_selected_experts));
  for (const auto& [pair, num] : {std::pair{&beside_, num_beside}, {&across_, num_across}})
    if (num > 0) pair->reaches /= num, pair->terms /= num;
}

double ExpectedRouting::reaches(StageRank owner, int subset) const {
  return at(from_[static_cast<std::size_t>(node_of_[static_cast<std::size_t>(index(owner))])].reaches, subset);
}

double ExpectedRouting::terms(StageRank owner, int subset) const {
  return at(from_[static_cast<std::size_t>(node_of_[static_cast<std::size_t>(index(owner))])].terms, subset);
}

double ExpectedRouting::share(std::int64_t layer, std::int32_t slot) const {
  return at(shares_[shares_.size() == 1 ? 0 : static_cast<std::size_t>(layer)], slot);
}

}  // namespace moesaic::plan
