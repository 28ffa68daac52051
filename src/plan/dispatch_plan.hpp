#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "config/numeric_setting.hpp"
#include "plan/dispatch_algorithm.hpp"
#include "plan/domains.hpp"
#include "plan/row_map.hpp"
#include "plan/row_moves.hpp"

/// Where each row goes in one MoE layer, and what comes back: pure arithmetic, seen from one rank. A row's experts are
/// given by the slots (plan/placement.hpp) that its owner has chosen for them.
///
/// Dispatch: an owner sends a row to every domain that holds a slice of one of its experts, once. Combine: the domain
/// completes what it can of each expert of the row and sends back one piece a (row, expert, fragment), in the order of
/// the rows that came, then of the row's experts, then of the fragments.
namespace moesaic::plan {

/// A message of rows: their number, the slots of each (num_rows, A), and the rows.
struct RowMessage {
  std::size_t row_bytes = 0;
  std::int64_t active = 0;  ///< experts of a row

  std::size_t slots_offset_bytes() const { return sizeof(std::int32_t); }
  std::size_t rows_offset_bytes(std::int64_t num_rows) const;
  std::size_t size_bytes(std::int64_t num_rows) const;
};

/// The message of rows as they travel to the experts.
RowMessage row_message(const ModelConfig& config, const NumericSetting& numeric);

/// Bytes of one piece of an expert's output.
struct PieceSizes {
  std::size_t complete = 0;  ///< Act (D)
  std::size_t partial = 0;   ///< fp32 (D): a subtree of the leaf sums

  std::size_t of(const SubsetTree& tree) const { return tree.complete() ? complete : partial; }
};

/// What does not change from layer to layer.
struct DispatchSetting {
  DispatchSetting(const Grid& grid, Domains domains, const PieceSizes& pieces);

  SubsetId subset_of(SlotId slot) const { return grid.placement().subset_of_slot(slot); }
  const SubsetTree& tree_of(SlotId slot) const { return trees[subset_of(slot)]; }
  /// Slots of a rank.
  IdRange<SlotId> slots(StageRank rank) const { return grid.placement().slots(grid.subset(rank)); }
  std::int64_t active() const { return grid.config().num_selected_experts; }
  /// Of a term in an expert batch's outputs.
  std::size_t term_bytes() const { return grid.layout().etp == 1 ? pieces.complete : pieces.partial; }

  const Grid& grid;
  Domains domains;
  IdVector<SubsetId, SubsetTree> trees;
  IdVector<SubsetId, std::int32_t> psum_fragments;  ///< number of fragments of the subsets before
  PieceSizes pieces;
};

/// What a rank sends and gets back as the owner of rows.
struct OwnerPlan {
  IdVector<DomainId, std::vector<std::int32_t>> send_rows;  ///< own rows, ascending; none for the own domain
  IdVector<DomainId, std::size_t> stream_bytes;  ///< all pieces that a domain completes of own rows, its own too
  std::vector<PieceSource> pieces;               ///< of (own row, its a-th expert in ascending order, fragment)
  std::vector<std::int32_t> first_piece;         ///< (own rows * A + 1)
  std::vector<std::int32_t> subsets;             ///< (own rows, A): whose tree joins the pieces
};

/// Replaces `plan`, whose memory is used again. slots: (own rows, A), by ascending expert in a row.
void plan_owner(const DispatchSetting& setting, StageRank me, std::span<const std::int32_t> slots, OwnerPlan& plan);

/// Rows of one owner that are in a domain.
struct RowBlock {
  StageRank owner;
  std::span<const std::int32_t> slots;  ///< (rows, A), by ascending expert in a row
};

/// The rows that a rank's experts work on, out of blocks that its domain has; all members derive the places of all.
struct BatchPlan {
  std::vector<std::int32_t> psum_slot_rows;  ///< of own slots, their number + 1
  std::vector<RowSource> sources;            ///< of each term of the own batch, slot after slot
  std::vector<std::int32_t> places;     ///< (rows of all blocks, A): the term in the batch of the expert's holders; -1
                                        ///< when none of them is in this domain
  IdVector<SlotId, std::int32_t> next;  ///< only used while the plan is made
};

void plan_batch(const DispatchSetting& setting, StageRank me, std::span<const RowBlock> blocks, BatchPlan& plan);

/// The pieces of a block in the order in which they go back. places: of this block's rows. Returns the stream's bytes.
std::size_t plan_pieces(const DispatchSetting& setting, DomainId domain, const RowBlock& block,
                        std::span<const std::int32_t> places, std::vector<PieceJob>& jobs);

/// Terms that a rank's experts have in a block.
std::int64_t num_terms(const DispatchSetting& setting, StageRank rank, const RowBlock& block);

}  // namespace moesaic::plan
