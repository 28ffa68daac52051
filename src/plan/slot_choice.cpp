#include "plan/slot_choice.hpp"

#include <algorithm>

namespace moesaic::plan {

IdVector<DomainId, NearSubsets> subsets_near(const Grid& grid, const Domains& nodes) {
  IdVector<DomainId, NearSubsets> near(nodes.size(), NearSubsets(grid.layout().ep));
  for (const StageRank rank : nodes.ranks()) near[nodes.domain(rank)][grid.subset(rank)] = 1;
  return near;
}

SlotChoice::SlotChoice(const Grid& grid, const Domains& nodes, std::optional<StageRank> owner)
    : grid_(grid), near_(owner ? subsets_near(grid, nodes)[nodes.domain(*owner)] : NearSubsets(grid.layout().ep)) {}

void SlotChoice::choose(ModelLayer layer, std::int64_t first_row, std::span<const std::int32_t> experts,
                        std::vector<std::int32_t>& slots) const {
  const Placement& placement = grid_.placement();
  const auto is_near = [&](SlotId slot) { return near_[placement.subset_of_slot(slot)] != 0; };
  slots.clear();
  for (std::int64_t i = -1; const std::int32_t expert : experts) {
    ++i;
    const auto& held = placement.slots_of(layer, ExpertId(expert));
    if (held.size() == 1) {
      slots.push_back(held[0].value());
      continue;
    }
    const std::int64_t row = first_row + i / grid_.config().num_selected_experts;
    const std::int64_t num_near = std::ranges::count_if(held, is_near);
    std::int64_t turn = row % (num_near > 0 ? num_near : std::ssize(held));
    for (const SlotId slot : held)
      if ((num_near == 0 || is_near(slot)) && turn-- == 0) {
        slots.push_back(slot.value());
        break;
      }
  }
}

IdVector<SlotId, double> turn_shares(const Placement& placement, ModelLayer layer, const NearSubsets& near) {
  IdVector<SlotId, double> shares(placement.num_slots());
  const auto is_near = [&](SlotId slot) { return near[placement.subset_of_slot(slot)] != 0; };
  for (const ExpertId expert : ids<ExpertId>(placement.num_experts())) {
    const auto& held = placement.slots_of(layer, expert);
    const auto num_near = std::ranges::count_if(held, is_near);
    for (const SlotId slot : held)
      if (num_near == 0 || is_near(slot))
        shares[slot] = 1 / static_cast<double>(num_near > 0 ? num_near : std::ssize(held));
  }
  return shares;
}

std::vector<std::int32_t> slots_of_rows(const Grid& grid, const Domains& nodes, const RowMap& rows, ModelLayer layer,
                                        std::span<const std::int32_t> experts) {
  if (grid.placement().at_home()) return {experts.begin(), experts.end()};
  const auto active = grid.config().num_selected_experts;
  const bool shared = rows.ownership() == Ownership::kShared;
  std::vector<std::int32_t> all, own;
  for (const StageRank rank : nodes.ranks()) {
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
