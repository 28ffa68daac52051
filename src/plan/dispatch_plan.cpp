#include "plan/dispatch_plan.hpp"

#include "base/error.hpp"

namespace moesaic::plan {
namespace {

/// Calls visit(row, position among the row's experts, expert) for the experts of `subset` in the routing of `rows`.
template <class Visit>
void for_each_term(const Grid& grid, std::span<const std::int32_t> experts, Range rows, int subset, Visit&& visit) {
  const auto active = grid.config().num_selected_experts;
  for (std::int64_t row = rows.begin; row < rows.end; ++row)
    for (std::int64_t a = 0; a < active; ++a) {
      const std::int32_t expert = experts[static_cast<std::size_t>(row * active + a)];
      if (grid.subset_of_expert(expert) == subset) visit(row, a, expert);
    }
}

/// What this rank sends and gets back as the owner of rows.
void plan_owner(const Grid& grid, Range own, std::span<const std::int32_t> experts, DispatchPlan& plan) {
  const auto active = grid.config().num_selected_experts;
  const auto etp = grid.layout().etp;
  plan.term_of.resize(static_cast<std::size_t>(own.size() * active * etp));
  std::int32_t num_terms = 0;
  for (int holder = 0; holder < grid.ranks_per_stage(); ++holder) {
    const std::size_t rows_before = plan.send_rows.size();
    const std::int32_t terms_before = num_terms;
    const int slice = grid.slice(StageRank{holder});
    std::int64_t last_row = -1;
    for_each_term(grid, experts, own, grid.subset(StageRank{holder}), [&](auto row, auto a, auto) {
      if (row != last_row) plan.send_rows.push_back(static_cast<std::int32_t>(row - own.begin));
      last_row = row;
      plan.term_of[static_cast<std::size_t>(((row - own.begin) * active + a) * etp + slice)] = num_terms++;
    });
    plan.num_send_rows.push_back(static_cast<std::int32_t>(plan.send_rows.size() - rows_before));
    plan.num_terms.push_back(num_terms - terms_before);
  }
}

/// What this rank gets, computes and returns as the holder of experts.
void plan_holder(const Grid& grid, const RowMap& rows, StageRank me, std::span<const std::int32_t> experts,
                 DispatchPlan& plan) {
  const int subset = grid.subset(me);
  const Range local = grid.experts(subset);
  const auto for_each_term_of = [&](int owner, auto&& visit) {  // in the order of return
    for_each_term(grid, experts, rows.rows(StageRank{owner}), subset,
                  [&](auto row, auto, auto expert) { visit(row, static_cast<std::size_t>(expert - local.begin)); });
  };
  plan.psum_expert_rows.assign(static_cast<std::size_t>(local.size()) + 1, 0);
  for (int owner = 0; owner < grid.ranks_per_stage(); ++owner) {
    std::int32_t num_rows = 0, num_terms = 0;
    std::int64_t last_row = -1;
    for_each_term_of(owner, [&](std::int64_t row, std::size_t local_expert) {
      if (row != last_row) ++num_rows;
      last_row = row;
      ++num_terms;
      ++plan.psum_expert_rows[local_expert + 1];
    });
    plan.num_recv_rows.push_back(num_rows);
    plan.num_return_rows.push_back(num_terms);
  }
  for (std::size_t e = 1; e < plan.psum_expert_rows.size(); ++e)
    plan.psum_expert_rows[e] += plan.psum_expert_rows[e - 1];

  plan.next_place.assign(plan.psum_expert_rows.begin(), plan.psum_expert_rows.end() - 1);
  plan.expert_rows.resize(static_cast<std::size_t>(plan.psum_expert_rows.back()));
  std::int64_t last_row = -1;
  std::int32_t recv_row = -1;
  for (int owner = 0; owner < grid.ranks_per_stage(); ++owner)
    for_each_term_of(owner, [&](std::int64_t row, std::size_t local_expert) {
      if (row != last_row) ++recv_row;
      last_row = row;
      const std::int32_t place = plan.next_place[local_expert]++;
      plan.expert_rows[static_cast<std::size_t>(place)] = recv_row;
      plan.return_rows.push_back(place);
    });
}

}  // namespace

void plan_dispatch(const Grid& grid, const RowMap& rows, StageRank me, std::span<const std::int32_t> experts,
                   DispatchPlan& plan) {
  MOESAIC_CHECK(std::ssize(experts) == rows.num_rows() * grid.config().num_selected_experts, "{} ids for {} rows",
                experts.size(), rows.num_rows());
  for (auto* list : {&plan.send_rows, &plan.num_send_rows, &plan.num_recv_rows, &plan.return_rows,
                     &plan.num_return_rows, &plan.num_terms})
    list->clear();
  plan_owner(grid, rows.rows(me), experts, plan);
  plan_holder(grid, rows, me, experts, plan);
}

}  // namespace moesaic::plan
