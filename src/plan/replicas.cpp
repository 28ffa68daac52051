#include "plan/replicas.hpp"

#include <algorithm>
#include <numeric>
#include <queue>
#include <tuple>

#include "base/error.hpp"

namespace moesaic::plan {
namespace {

/// How many experts each subset may hold: as many as at home, and the copies where the fewest are.
std::vector<std::size_t> capacities(const Grid& grid, std::int64_t num_copies) {
  std::vector<std::size_t> sizes;
  for (int s = 0; s < grid.layout().ep; ++s) sizes.push_back(static_cast<std::size_t>(grid.home_experts(s).size()));
  for (std::int64_t i = 0; i < num_copies; ++i) ++*std::min_element(sizes.begin(), sizes.end());
  return sizes;
}

/// A packing under way.
class Packing {
 public:
  Packing(const Grid& grid, const Domains& nodes)
      : nodes_of_subset_(static_cast<std::size_t>(grid.layout().ep)),
        held_(nodes_of_subset_.size()),
        holds_(nodes_of_subset_.size(), std::vector<char>(static_cast<std::size_t>(grid.config().num_experts))),
        on_node_(static_cast<std::size_t>(nodes.size()), std::vector<int>(holds_[0].size())) {
    const auto near = subsets_near(grid, nodes);
    for (std::size_t s = 0; s < held_.size(); ++s)
      for (std::size_t node = 0; node < near.size(); ++node)
        if (near[node][s]) nodes_of_subset_[s].push_back(node);
  }

  std::size_t num_subsets() const { return held_.size(); }
  const std::vector<std::int32_t>& held(std::size_t subset) const { return held_[subset]; }
  bool holds(std::size_t subset, std::int32_t expert) const {
    return holds_[subset][static_cast<std::size_t>(expert)] != 0;
  }
  /// The most copies of an expert on a node that the subset has a part in.
  int crowd(std::size_t subset, std::int32_t expert) const {
    int most = 0;
    for (const std::size_t node : nodes_of_subset_[subset])
      most = std::max(most, on_node_[node][static_cast<std::size_t>(expert)]);
    return most;
  }
  void add(std::size_t subset, std::int32_t expert) { change(subset, expert, 1); }
  void remove(std::size_t subset, std::int32_t expert) { change(subset, expert, -1); }

  Placement::Subsets sorted() const {
    Placement::Subsets subsets = held_;
    for (auto& experts : subsets) std::sort(experts.begin(), experts.end());
    return subsets;
  }

 private:
  void change(std::size_t subset, std::int32_t expert, int by) {
    if (by > 0)
      held_[subset].push_back(expert);
    else
      std::erase(held_[subset], expert);
    holds_[subset][static_cast<std::size_t>(expert)] = by > 0;
    for (const std::size_t node : nodes_of_subset_[subset]) on_node_[node][static_cast<std::size_t>(expert)] += by;
  }

  std::vector<std::vector<std::size_t>> nodes_of_subset_;
  Placement::Subsets held_;
  std::vector<std::vector<char>> holds_;   // by subset and expert
  std::vector<std::vector<int>> on_node_;  // by node and expert
};

/// How many holders each expert gets: always one more for the one with the largest load a holder.
std::vector<int> holders_of(std::span<const double> loads, int ep, std::int64_t num_copies) {
  std::vector<int> holders(loads.size(), 1);
  using Turn = std::tuple<double, int, std::int32_t>;  // load a holder, minus the holders, minus the expert
  std::priority_queue<Turn> turns;
  const auto push = [&](std::size_t e) {
    if (holders[e] < ep) turns.emplace(loads[e] / holders[e], -holders[e], -static_cast<std::int32_t>(e));
  };
  for (std::size_t e = 0; e < loads.size(); ++e) push(e);
  for (std::int64_t i = 0; i < num_copies; ++i) {
    const auto e = static_cast<std::size_t>(-std::get<2>(turns.top()));
    turns.pop();
    ++holders[e];
    push(e);
  }
  return holders;
}

/// Puts the experts onto subsets, the largest load a holder first.
class Packer {
 public:
  Packer(const Grid& grid, const Domains& nodes, std::span<const double> loads, std::int64_t num_copies)
      : packing_(grid, nodes),
        room_(capacities(grid, num_copies)),
        load_(room_.size()),
        load_a_holder_(loads.begin(), loads.end()) {
    const std::vector<int> holders = holders_of(loads, grid.layout().ep, num_copies);
    for (std::size_t e = 0; e < loads.size(); ++e) load_a_holder_[e] /= holders[e];
    std::vector<std::int32_t> order(loads.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return of(a) > of(b); });
    for (const std::int32_t expert : order)
      for (int i = 0; i < holders[static_cast<std::size_t>(expert)]; ++i) place(expert);
  }

  Placement::Subsets result() const { return packing_.sorted(); }

 private:
  double of(std::int32_t expert) const { return load_a_holder_[static_cast<std::size_t>(expert)]; }

  void put(std::size_t subset, std::int32_t expert) {
    packing_.add(subset, expert);
    load_[subset] += of(expert);
    --room_[subset];
  }

  void place(std::int32_t expert) {
    std::optional<std::tuple<int, double, std::size_t>> best;
    for (std::size_t s = 0; s < load_.size(); ++s)
      if (room_[s] > 0 && !packing_.holds(s, expert))
        best = std::min(best.value_or(std::tuple(packing_.crowd(s, expert), load_[s], s)),
                        std::tuple(packing_.crowd(s, expert), load_[s], s));
    best ? put(std::get<2>(*best), expert) : make_room(expert);
  }

  /// Those with room have the expert already: another one moves there. Subsets differ by one in size, so there is one.
  void make_room(std::int32_t expert) {
    std::size_t full = 0, free = 0;
    while (packing_.holds(full, expert)) ++full;
    while (room_[free] == 0) ++free;
    const auto moved = std::find_if(packing_.held(full).begin(), packing_.held(full).end(),
                                    [&](std::int32_t other) { return !packing_.holds(free, other); });
    MOESAIC_CHECK(moved != packing_.held(full).end(), "no expert of subset {} can go to {}", full, free);
    const std::int32_t other = *moved;
    packing_.remove(full, other);
    load_[full] -= of(other);
    ++room_[full];
    put(free, other);
    put(full, expert);
  }

  Packing packing_;
  std::vector<std::size_t> room_;      // by subset
  std::vector<double> load_;           // by subset
  std::vector<double> load_a_holder_;  // by expert
};

double largest(const std::vector<double>& list) { return *std::max_element(list.begin(), list.end()); }

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
  std::vector<int> holders(static_cast<std::size_t>(num_experts), 1);
  for (std::size_t s = 0; s < packing.num_subsets(); ++s)
    for (auto e = grid.home_experts(static_cast<int>(s)).begin; e < grid.home_experts(static_cast<int>(s)).end; ++e)
      packing.add(s, static_cast<std::int32_t>(e));
  for (std::int64_t i = 0; i < num_copies; ++i) {
    std::size_t subset = 0;
    for (std::size_t s = 0; s < packing.num_subsets(); ++s)
      if (packing.held(s).size() < packing.held(subset).size()) subset = s;
    // The fewest holders, then the fewest near, then the next after the subset's own experts.
    const std::int64_t after = grid.home_experts(static_cast<int>(subset)).end % num_experts;
    std::optional<std::tuple<int, int, std::int64_t>> best;
    for (std::int64_t step = 0; step < num_experts; ++step) {
      const auto expert = static_cast<std::int32_t>((after + step) % num_experts);
      if (packing.holds(subset, expert)) continue;
      const std::tuple turn(holders[static_cast<std::size_t>(expert)], packing.crowd(subset, expert), step);
      best = std::min(best.value_or(turn), turn);
    }
    MOESAIC_CHECK(best, "{} copies for {} experts, ep={}", num_copies, num_experts, ep);
    const auto expert = static_cast<std::int32_t>((after + std::get<2>(*best)) % num_experts);
    packing.add(subset, expert);
    ++holders[static_cast<std::size_t>(expert)];
  }
  return packing.sorted();
}

Placement::Subsets balance_copies(const Grid& grid, const Domains& nodes, std::int64_t num_copies,
                                  std::span<const double> loads) {
  Placement::Subsets home = home_subsets(grid.config().num_experts, grid.layout().ep);
  Placement::Subsets packed = Packer(grid, nodes, loads, num_copies).result();
  const bool better =
      largest(subset_loads(grid, nodes, packed, loads)) < largest(subset_loads(grid, nodes, home, loads));
  return better ? packed : home;
}

std::vector<double> subset_loads(const Grid& grid, const Domains& nodes, const Placement::Subsets& held,
                                 std::span<const double> loads) {
  const Placement placement(grid.config().num_experts, {held});
  const auto near = subsets_near(grid, nodes);
  std::vector<double> sums(held.size());
  for (std::size_t node = 0; node < near.size(); ++node) {
    const double owned =
        static_cast<double>(nodes.members(static_cast<int>(node)).size()) / static_cast<double>(nodes.num_ranks());
    const std::vector<double> shares = turn_shares(placement, 0, near[node]);
    for (std::int64_t e = 0; e < placement.num_experts(); ++e)
      for (const std::int32_t slot : placement.slots_of(0, e))
        sums[static_cast<std::size_t>(placement.subset_of_slot(slot))] +=
            owned * loads[static_cast<std::size_t>(e)] * shares[static_cast<std::size_t>(slot)];
  }
  return sums;
}

}  // namespace moesaic::plan
