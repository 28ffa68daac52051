#pragma once

#include <cstddef>

#include "moe/routing.hpp"
#include "ops/kernels.hpp"
#include "plan/dispatch_plan.hpp"
#include "plan/leaf_tree.hpp"

namespace moesaic::moe {

/// The owner's half of combine. For each own row: finishes the leaf tree of each of its experts, rounds the output to
/// Act, applies the gate, and adds the terms up in the fixed tree over the expert index. leaf_merges: finish_tree of
/// the grid's expert leaves. terms: (received terms, D), Act when experts are not sliced, else fp32 and overwritten; m:
/// fp32 (own rows, D).
void combine_terms(const plan::Grid& grid, std::span<const plan::Merge> leaf_merges, const plan::DispatchPlan& plan,
                   const Routing& routing, const ops::Kernels& kernels, std::byte* terms, std::int64_t num_rows,
                   float* m);

}  // namespace moesaic::moe
