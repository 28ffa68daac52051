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
  for (std::size_t i = 0; i < slots.size(); ++i) visit(static_cast<std::int32_t>(i / active), i % active, slots[i]);
}

bool holds(const SubsetTree& tree, int domain) {
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
  const int num_domains = setting.domains.size(), own = setting.domains.domain(me);
  plan.send_rows.clear();
  plan.psum_send_rows.assign(1, 0);
  for (int domain = 0; domain < num_domains; ++domain) {
    std::int32_t last = -1;
    if (domain != own)
      for_each_choice(setting, slots, [&](std::int32_t row, std::size_t, std::int32_t slot) {
        if (row == last || !holds(setting.tree_of(slot), domain)) return;
        plan.send_rows.push_back(row);
        last = row;
      });
    plan.psum_send_rows.push_back(static_cast<std::int32_t>(plan.send_rows.size()));
  }
  plan.stream_bytes.assign(static_cast<std::size_t>(num_domains), 0);
  plan.pieces.clear();
  plan.first_piece.clear();
  plan.subsets.clear();
  for_each_choice(setting, slots, [&](std::int32_t, std::size_t, std::int32_t slot) {
    plan.first_piece.push_back(static_cast<std::int32_t>(plan.pieces.size()));
    plan.subsets.push_back(setting.subset_of(slot));
    const SubsetTree& tree = setting.tree_of(slot);
    for (const Fragment& fragment : tree.fragments) {
      std::size_t& end = plan.stream_bytes[static_cast<std::size_t>(fragment.domain)];
      plan.pieces.push_back({static_cast<std::int64_t>(end), fragment.domain});
      end += setting.pieces.of(tree);
    }
  });
  plan.first_piece.push_back(static_cast<std::int32_t>(plan.pieces.size()));
}

void plan_batch(const DispatchSetting& setting, StageRank me, std::span<const RowBlock> blocks, BatchPlan& plan) {
  const Placement& placement = setting.grid.placement();
  const int domain = setting.domains.domain(me);
  plan.next.assign(static_cast<std::size_t>(placement.num_slots()), 0);
  for (const RowBlock& block : blocks)
    for (const std::int32_t slot : block.slots) ++plan.next[static_cast<std::size_t>(slot)];

  // Counts become the first place of each slot in its subset's batch.
  const Range local = setting.slots(me);
  plan.psum_slot_rows.assign(1, 0);
  for (int subset = 0; subset < placement.num_subsets(); ++subset) {
    const Range slots = placement.slots(subset);
    std::int32_t place = 0;
    for (auto slot = slots.begin; slot < slots.end; ++slot) {
      const std::int32_t count = std::exchange(plan.next[static_cast<std::size_t>(slot)], place);
      place += count;
      if (local.contains(slot)) plan.psum_slot_rows.push_back(place);
    }
  }

  plan.sources.resize(static_cast<std::size_t>(plan.psum_slot_rows.back()));
  plan.places.clear();
  for (std::size_t b = 0; b < blocks.size(); ++b)
    for_each_choice(setting, blocks[b].slots, [&](std::int32_t row, std::size_t, std::int32_t slot) {
      const bool here = holds(setting.tree_of(slot), domain);
      const std::int32_t at = plan.next[static_cast<std::size_t>(slot)]++;
      plan.places.push_back(here ? at : -1);
      if (local.contains(slot)) plan.sources[static_cast<std::size_t>(at)] = {static_cast<std::int32_t>(b), row};
    });
}

std::size_t plan_pieces(const DispatchSetting& setting, int domain, const RowBlock& block,
                        std::span<const std::int32_t> places, std::vector<PieceJob>& jobs) {
  const auto active = static_cast<std::size_t>(setting.active());
  std::size_t end = 0;
  jobs.clear();
  for_each_choice(setting, block.slots, [&](std::int32_t row, std::size_t a, std::int32_t slot) {
    const SubsetTree& tree = setting.tree_of(slot);
    std::int32_t number = setting.psum_fragments[static_cast<std::size_t>(setting.subset_of(slot))];
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
  const Range local = setting.slots(rank);
  return std::count_if(block.slots.begin(), block.slots.end(), [&](std::int32_t slot) { return local.contains(slot); });
}

}  // namespace moesaic::plan
