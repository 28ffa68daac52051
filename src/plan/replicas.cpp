#include "plan/replicas.hpp"

#include <algorithm>
#include <functional>
#include <queue>
#include <tuple>

#include "base/error.hpp"

namespace moesaic::plan {
namespace {

/// How many experts each subset may hold: as many as at home, and the copies where the fewest are.
IdVector<SubsetId, std::int64_t> capacities(const Grid& grid, std::int64_t num_copies) {
  IdVector<SubsetId, std::int64_t> sizes;
  for (const SubsetId subset : grid.subsets()) sizes.push_back(grid.home_experts(subset).size());
  for (std::int64_t i = 0; i < num_copies; ++i) ++*std::min_element(sizes.begin(), sizes.end());
  return sizes;
}

/// A packing under way.
class Packing {
 public:
  Packing(const Grid& grid, const Domains& nodes)
      : nodes_of_subset_(grid.layout().ep),
        held_(grid.layout().ep),
        holds_(grid.layout().ep, IdVector<ExpertId, char>(grid.config().num_experts)),
        on_node_(nodes.size(), IdVector<ExpertId, int>(grid.config().num_experts)) {
    const auto near = subsets_near(grid, nodes);
    for (const SubsetId subset : held_.ids())
      for (const DomainId node : near.ids())
        if (near[node][subset]) nodes_of_subset_[subset].push_back(node);
  }

  const std::vector<ExpertId>& held(SubsetId subset) const { return held_[subset]; }
  bool holds(SubsetId subset, ExpertId expert) const { return holds_[subset][expert] != 0; }
  /// The most copies of an expert on a node that the subset has a part in.
  int crowd(SubsetId subset, ExpertId expert) const {
    int most = 0;
    for (const DomainId node : nodes_of_subset_[subset]) most = std::max(most, on_node_[node][expert]);
    return most;
  }
  void add(SubsetId subset, ExpertId expert) { change(subset, expert, 1); }
  void remove(SubsetId subset, ExpertId expert) { change(subset, expert, -1); }

  Placement::Subsets sorted() const {
    Placement::Subsets subsets = held_;
    for (auto& experts : subsets) std::sort(experts.begin(), experts.end());
    return subsets;
  }

 private:
  void change(SubsetId subset, ExpertId expert, int by) {
    if (by > 0)
      held_[subset].push_back(expert);
    else
      std::erase(held_[subset], expert);
    holds_[subset][expert] = by > 0;
    for (const DomainId node : nodes_of_subset_[subset]) on_node_[node][expert] += by;
  }

  IdVector<SubsetId, std::vector<DomainId>> nodes_of_subset_;
  Placement::Subsets held_;
  IdVector<SubsetId, IdVector<ExpertId, char>> holds_;
  IdVector<DomainId, IdVector<ExpertId, int>> on_node_;
};

/// How many holders each expert gets: always one more for the one with the largest load a holder.
IdVector<ExpertId, int> holders_of(const ExpertLoads& loads, int ep, std::int64_t num_copies) {
  IdVector<ExpertId, int> holders(loads.size(), 1);
  using Turn = std::tuple<double, int, std::int32_t>;  // load a holder, minus the holders, minus the expert
  std::priority_queue<Turn> turns;
  const auto push = [&](ExpertId e) {
    if (holders[e] < ep) turns.emplace(loads[e] / holders[e], -holders[e], -e.value());
  };
  for (const ExpertId e : loads.ids()) push(e);
  for (std::int64_t i = 0; i < num_copies; ++i) {
    const ExpertId e(-std::get<2>(turns.top()));
    turns.pop();
    ++holders[e];
    push(e);
  }
  return holders;
}

/// Puts the experts onto subsets, the largest load a holder first.
class Packer {
 public:
  Packer(const Grid& grid, const Domains& nodes, const ExpertLoads& loads, std::int64_t num_copies)
      : packing_(grid, nodes), room_(capacities(grid, num_copies)), load_(room_.size()), load_a_holder_(loads) {
    const IdVector<ExpertId, int> holders = holders_of(loads, grid.layout().ep, num_copies);
    std::vector<ExpertId> order;
    for (const ExpertId expert : loads.ids()) {
      load_a_holder_[expert] /= holders[expert];
      order.push_back(expert);
    }
    std::ranges::stable_sort(order, std::greater<>(), [&](ExpertId expert) { return load_a_holder_[expert]; });
    for (const ExpertId expert : order)
      for (int i = 0; i < holders[expert]; ++i) place(expert);
  }

  Placement::Subsets result() const { return packing_.sorted(); }

 private:
  void put(SubsetId subset, ExpertId expert) {
    packing_.add(subset, expert);
    load_[subset] += load_a_holder_[expert];
    --room_[subset];
  }

  void place(ExpertId expert) {
    std::optional<std::tuple<int, double, SubsetId>> best;
    for (const SubsetId s : load_.ids())
      if (room_[s] > 0 && !packing_.holds(s, expert))
        best = std::min(best.value_or(std::tuple(packing_.crowd(s, expert), load_[s], s)),
                        std::tuple(packing_.crowd(s, expert), load_[s], s));
    best ? put(std::get<2>(*best), expert) : make_room(expert);
  }

  /// Those with room have the expert already: another one moves there. Subsets differ by one in size, so there is one.
  void make_room(ExpertId expert) {
    SubsetId full, free;
    while (packing_.holds(full, expert)) ++full;
    while (room_[free] == 0) ++free;
    const auto moved = std::find_if(packing_.held(full).begin(), packing_.held(full).end(),
                                    [&](ExpertId other) { return !packing_.holds(free, other); });
    MOESAIC_CHECK(moved != packing_.held(full).end(), "no expert of subset {} can go to {}", full.value(),
                  free.value());
    const ExpertId other = *moved;
    packing_.remove(full, other);
    load_[full] -= load_a_holder_[other];
    ++room_[full];
    put(free, other);
    put(full, expert);
  }

  Packing packing_;
  IdVector<SubsetId, std::int64_t> room_;
  IdVector<SubsetId, double> load_;
  ExpertLoads load_a_holder_;
};

}  // namespace

std::string broken_copies_rule(std::int64_t num_experts, int ep, std::int64_t num_copies) {
  const std::int64_t most = (ep - 1) * num_experts;
  if (num_copies >= 0 && num_copies <= most) return "";
  return fmt::format("0 to {} ((ep-1)*{} with ep={}: each of the ep subsets holds an expert once at most)", most,
                     num_experts, ep);
}

Placement::Subsets spread_copies(const Grid& grid, const Domains& nodes, std::int64_t num_copies) {
  const std::int64_t num_experts = grid.config().num_experts;
  const int ep = grid.layout().ep;
  Packing packing(grid, nodes);
  IdVector<ExpertId, int> holders(num_experts, 1);
  for (const SubsetId s : grid.subsets())
    for (const ExpertId expert : grid.home_experts(s)) packing.add(s, expert);
  for (std::int64_t i = 0; i < num_copies; ++i) {
    SubsetId subset;
    for (const SubsetId s : grid.subsets())
      if (packing.held(s).size() < packing.held(subset).size()) subset = s;
    // The fewest holders, then the fewest near, then the next after the subset's own experts.
    const std::int64_t after = grid.home_experts(subset).values().end;
    std::optional<std::tuple<int, int, std::int64_t>> best;
    for (std::int64_t step = 0; step < num_experts; ++step) {
      const ExpertId expert((after + step) % num_experts);
      if (packing.holds(subset, expert)) continue;
      const std::tuple turn(holders[expert], packing.crowd(subset, expert), step);
      best = std::min(best.value_or(turn), turn);
    }
    MOESAIC_CHECK(best, "{} copies for {} experts, ep={}", num_copies, num_experts, ep);
    const ExpertId expert((after + std::get<2>(*best)) % num_experts);
    packing.add(subset, expert);
    ++holders[expert];
  }
  return packing.sorted();
}

Placement::Subsets balance_copies(const Grid& grid, const Domains& nodes, std::int64_t num_copies,
                                  const ExpertLoads& loads) {
  Placement::Subsets home = home_subsets(grid.config().num_experts, grid.layout().ep);
  Placement::Subsets packed = Packer(grid, nodes, loads, num_copies).result();
  const bool better = std::ranges::max(subset_loads(grid, nodes, packed, loads)) <
                      std::ranges::max(subset_loads(grid, nodes, home, loads));
  return better ? packed : home;
}

IdVector<SubsetId, double> subset_loads(const Grid& grid, const Domains& nodes, const Placement::Subsets& held,
                                        const ExpertLoads& loads) {
  const Placement placement(grid.config().num_experts, {held});
  const auto near = subsets_near(grid, nodes);
  const ModelLayer layer(0);  // all are alike
  IdVector<SubsetId, double> sums(held.size());
  for (const DomainId node : nodes.ids()) {
    const double owned = static_cast<double>(nodes.members(node).size()) / static_cast<double>(nodes.num_ranks());
    const IdVector<SlotId, double> shares = turn_shares(placement, layer, near[node]);
    for (const ExpertId expert : loads.ids())
      for (const SlotId slot : placement.slots_of(layer, expert))
        sums[placement.subset_of_slot(slot)] += owned * loads[expert] * shares[slot];
  }
  return sums;
}

}  // namespace moesaic::plan
