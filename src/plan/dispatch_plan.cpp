#include "plan/dispatch_plan.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"
#include "base/units.hpp"

namespace moesaic::plan {
namespace {

/// Calls visit(row, a, slot) for all rows of a block, ascending.
template <class Visit>
void for_each_choice(const DispatchSetting& setting, std::span<const std::int32_t> slots, Visit&& visit) {
  const auto active = static_cast<std::size_t>(setting.active());
  MOESAIC_CHECK(slots.size() % active == 0, "{} ids, {} a row", slots.size(), active);
  for (std::size_t i = 0; i < slots.size(); ++i)
    visit(static_cast<std::int32_t>(i / active), i % active, SlotId(slots[i]));
}

bool holds(const SubsetTree& tree, DomainId domain) {
  for (const Fragment& fragment : tree.fragments)
    if (fragment.domain == domain) return true;
  return false;
}

}  // namespace

std::size_t RowMessage::rows_offset_bytes(std::int64_t num_rows) const {
  const std::size_t end = slots_offset_bytes() + static_cast<std::size_t>(num_rows * active) * sizeof(std::int32_t);
  return aligned(end);
}

std::size_t RowMessage::size_bytes(std::int64_t num_rows) const {
  return rows_offset_bytes(num_rows) + static_cast<std::size_t>(num_rows) * row_bytes;
}

RowMessage row_message(const ModelConfig& config, const NumericSetting& numeric) {
  return {numeric.expert_row(config.emb_size).row_bytes(), config.num_selected_experts};
}

DispatchSetting::DispatchSetting(const Grid& of, Domains with, const PieceSizes& sizes)
    : grid(of), domains(std::move(with)), trees(subset_trees(grid, domains)), pieces(sizes) {
  for (std::int32_t num_fragments = 0; const SubsetTree& tree : trees) {
    psum_fragments.push_back(num_fragments);
    num_fragments += static_cast<std::int32_t>(tree.fragments.size());
  }
}

void plan_owner(const DispatchSetting& setting, StageRank me, std::span<const std::int32_t> slots, OwnerPlan& plan) {
  const DomainId own = setting.domains.domain(me);
  plan.send_rows.resize(setting.domains.size());
  for (const DomainId domain : setting.domains.ids()) {
    std::vector<std::int32_t>& rows = plan.send_rows[domain];
    rows.clear();
    if (domain == own) continue;
    for_each_choice(setting, slots, [&](std::int32_t row, std::size_t, SlotId slot) {
      if ((rows.empty() || row != rows.back()) && holds(setting.tree_of(slot), domain)) rows.push_back(row);
    });
  }
  plan.stream_bytes.assign(setting.domains.size(), 0);
  plan.pieces.clear();
  plan.first_piece.clear();
  plan.subsets.clear();
  for_each_choice(setting, slots, [&](std::int32_t, std::size_t, SlotId slot) {
    plan.first_piece.push_back(static_cast<std::int32_t>(plan.pieces.size()));
    plan.subsets.push_back(setting.subset_of(slot).value());
    const SubsetTree& tree = setting.tree_of(slot);
    for (const Fragment& fragment : tree.fragments) {
      std::size_t& end = plan.stream_bytes[fragment.domain];
      plan.pieces.push_back({static_cast<std::int64_t>(end), fragment.domain.value()});
      end += setting.pieces.of(tree);
    }
  });
  plan.first_piece.push_back(static_cast<std::int32_t>(plan.pieces.size()));
}

void plan_batch(const DispatchSetting& setting, StageRank me, std::span<const RowBlock> blocks, BatchPlan& plan) {
  const Placement& placement = setting.grid.placement();
  const DomainId domain = setting.domains.domain(me);
  plan.next.assign(placement.num_slots(), 0);
  for (const RowBlock& block : blocks)
    for (const std::int32_t slot : block.slots) ++plan.next[SlotId(slot)];

  // Counts become the first place of each slot in its subset's batch.
  const IdRange<SlotId> local = setting.slots(me);
  plan.psum_slot_rows.assign(1, 0);
  for (const SubsetId subset : setting.grid.subsets()) {
    std::int32_t place = 0;
    for (const SlotId slot : placement.slots(subset)) {
      const std::int32_t count = std::exchange(plan.next[slot], place);
      place += count;
      if (local.contains(slot)) plan.psum_slot_rows.push_back(place);
    }
  }

  plan.sources.resize(static_cast<std::size_t>(plan.psum_slot_rows.back()));
  plan.places.clear();
  for (std::size_t b = 0; b < blocks.size(); ++b)
    for_each_choice(setting, blocks[b].slots, [&](std::int32_t row, std::size_t, SlotId slot) {
      const bool here = holds(setting.tree_of(slot), domain);
      const std::int32_t at = plan.next[slot]++;
      plan.places.push_back(here ? at : -1);
      if (local.contains(slot)) plan.sources[static_cast<std::size_t>(at)] = {static_cast<std::int32_t>(b), row};
    });
}

std::size_t plan_pieces(const DispatchSetting& setting, DomainId domain, const RowBlock& block,
                        std::span<const std::int32_t> places, std::vector<PieceJob>& jobs) {
  const auto active = static_cast<std::size_t>(setting.active());
  std::size_t end = 0;
  jobs.clear();
  for_each_choice(setting, block.slots, [&](std::int32_t row, std::size_t a, SlotId slot) {
    const SubsetTree& tree = setting.tree_of(slot);
    std::int32_t number = setting.psum_fragments[setting.subset_of(slot)];
    for (const Fragment& fragment : tree.fragments) {
      const std::int32_t of_fragment = number++;
      if (fragment.domain != domain) continue;
      jobs.push_back({static_cast<std::int64_t>(end), places[static_cast<std::size_t>(row) * active + a], of_fragment});
      end += setting.pieces.of(tree);
    }
  });
  return end;
}

std::int64_t num_terms(const DispatchSetting& setting, StageRank rank, const RowBlock& block) {
  const IdRange<SlotId> local = setting.slots(rank);
  return std::ranges::count_if(block.slots, [&](std::int32_t slot) { return local.contains(SlotId(slot)); });
}

}  // namespace moesaic::plan
