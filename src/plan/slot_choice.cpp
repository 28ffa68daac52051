#include "plan/slot_choice.hpp"

#include <algorithm>

namespace moesaic::plan {

std::vector<std::vector<char>> subsets_near(const Grid& grid, const Domains& nodes) {
  std::vector<std::vector<char>> near(static_cast<std::size_t>(nodes.size()));
  for (int node = 0; node < nodes.size(); ++node) {
    auto& subsets = near[static_cast<std::size_t>(node)];
    subsets.resize(static_cast<std::size_t>(grid.layout().ep));
    for (const StageRank rank : nodes.members(node)) subsets[static_cast<std::size_t>(grid.subset(rank))] = 1;
  }
  return near;
}

SlotChoice::SlotChoice(const Grid& grid, const Domains& nodes, std::optional<StageRank> owner)
    : grid_(grid), near_(static_cast<std::size_t>(grid.layout().ep)) {
  if (!owner) return;
  for (const StageRank rank : nodes.members(nodes.domain(*owner)))
    near_[static_cast<std::size_t>(grid.subset(rank))] = 1;
}

void SlotChoice::choose(std::int64_t layer, std::int64_t first_row, std::span<const std::int32_t> experts,
                        std::vector<std::int32_t>& slots) const {
  const Placement& placement = grid_.placement();
  const auto is_near = [&](std::int32_t slot) {
    return near_[static_cast<std::size_t>(placement.subset_of_slot(slot))] != 0;
  };
  slots.clear();
  for (std::size_t i = 0; i < experts.size(); ++i) {
    const auto held = placement.slots_of(layer, experts[i]);
    if (held.size() == 1) {
      slots.push_back(held[0]);
      continue;
    }
    const auto row =
        static_cast<std::size_t>(first_row) + i / static_cast<std::size_t>(grid_.config().num_selected_experts);
    const auto num_near = static_cast<std::size_t>(std::count_if(held.begin(), held.end(), is_near));
    std::size_t turn = row % (num_near > 0 ? num_near : held.size());
    for (const std::int32_t slot : held)
      if ((num_near == 0 || is_near(slot)) && turn-- == 0) {
        slots.push_back(slot);
        break;
      }
  }
}

std::vector<double> turn_shares(const Placement& placement, std::int64_t layer, const std::vector<char>& near) {
  std::vector<double> shares(static_cast<std::size_t>(placement.num_slots()));
  const auto is_near = [&](std::int32_t slot) {
    return near[static_cast<std::size_t>(placement.subset_of_slot(slot))] != 0;
  };
  for (std::int64_t e = 0; e < placement.num_experts(); ++e) {
    const auto held = placement.slots_of(layer, e);
    const auto num_near = std::count_if(held.begin(), held.end(), is_near);
    for (const std::int32_t slot : held)
      if (num_near == 0 || is_near(slot))
        shares[static_cast<std::size_t>(slot)] = 1 / static_cast<double>(num_near > 0 ? num_near : std::ssize(held));
  }
  return shares;
}

std::vector<std::int32_t> slots_of_rows(const Grid& grid, const Domains& nodes, const RowMap& rows, std::int64_t layer,
                                        std::span<const std::int32_t> experts) {
  if (grid.placement().at_home()) return {experts.begin(), experts.end()};
  const auto active = grid.config().num_selected_experts;
  const bool shared = rows.ownership() == Ownership::kShared;
  std::vector<std::int32_t> all, own;
  for (int r = 0; r < nodes.num_ranks(); ++r) {
    const StageRank rank{r};
    const Range part = rows.share(rank);
    const SlotChoice choice(grid, nodes, shared ? std::optional(rank) : std::nullopt);
    choice.choose(
        layer, part.begin,
        experts.subspan(static_cast<std::size_t>(part.begin * active), static_cast<std::size_t>(part.size() * active)),
        own);
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

}  // namespace moesaic::plan
