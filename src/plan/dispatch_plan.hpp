#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "plan/row_map.hpp"

namespace moesaic::plan {

/// Where each row goes in one MoE layer, from one rank's point of view. Every rank derives it from the routing of the
/// whole stage, so no sizes are exchanged.
///
/// Dispatch: an owner sends a row once to every rank that holds a slice of one of its experts, however many of the
/// row's experts are there. Combine: each of those ranks sends back one partial sum (its subtree of the expert's
/// leaves) per (row, expert).
struct DispatchPlan {
  // Dispatch, as the rows' owner: own rows (index into the rank's range) by destination, ascending.
  std::vector<std::int32_t> send_rows;
  std::vector<std::int32_t> num_send_rows;  ///< by destination rank
  std::vector<std::int32_t> num_recv_rows;  ///< by source rank; received rows lie by source, ascending

  // Experts: the received rows (index among them) that each local expert works on, expert after expert.
  std::vector<std::int32_t> expert_rows;
  std::vector<std::int32_t> psum_expert_rows;  ///< of local experts, num_local + 1 entries

  // Combine, as the experts' holder: rows of the expert batch (index into expert_rows), in the order in which they are
  // sent back: by owner, then row, then expert.
  std::vector<std::int32_t> return_rows;
  std::vector<std::int32_t> num_return_rows;  ///< by owner rank
  // Combine, as the rows' owner: terms that come from each rank, and where each partial sum of (own row, its a-th
  // expert in ascending order, slice) lies among them.
  std::vector<std::int32_t> num_terms;  ///< by holder rank
  std::vector<std::int32_t> term_of;    ///< (own rows, A, etp)

  std::vector<std::int32_t> next_place;  ///< by local expert: only used while the plan is made
};

/// Replaces `plan`, whose memory is used again: there is one a layer of a step.
/// experts: (rows of the stage, A), each row's ids ascending.
void plan_dispatch(const Grid& grid, const RowMap& rows, StageRank me, std::span<const std::int32_t> experts,
                   DispatchPlan& plan);

}  // namespace moesaic::plan
