#pragma once

#include "plan/slot_choice.hpp"

/// Where copies of hot experts go: a static planner in the manner of EPLB. Pure arithmetic.
namespace moesaic::plan {

/// Empty when a stage can have so many copies of experts beyond the first, else the rule that it breaks.
std::string broken_copies_rule(std::int64_t num_experts, int ep, std::int64_t num_copies);

/// No loads are known: all experts stay at home, copies are shared out in turn, each as far from the others of its
/// expert as can be. Subsets hold the same number of experts, as far as that is possible.
Placement::Subsets spread_copies(const Grid& grid, const Domains& nodes, std::int64_t num_copies);

/// Terms of each expert, recorded or expected.
using ExpertLoads = IdVector<ExpertId, double>;

/// At most num_copies copies, to the experts with the largest load a copy; then all are
/// packed onto the subsets, the largest first, each on a node with the fewest of its expert, there on the subset with
/// the least load. Where that does not make the busiest subset's load smaller, all experts stay at home, without
/// copies.
Placement::Subsets balance_copies(const Grid& grid, const Domains& nodes, std::int64_t num_copies,
                                  const ExpertLoads& loads);

/// The expected terms of each subset, for owners that have equally many rows.
IdVector<SubsetId, double> subset_loads(const Grid& grid, const Domains& nodes, const Placement::Subsets& held,
                                        const ExpertLoads& loads);

}  // namespace moesaic::plan
