#pragma once

#include <cstddef>
#include <span>

#include "moe/routing.hpp"
#include "ops/kernels.hpp"
#include "plan/dispatch_plan.hpp"

namespace moesaic::moe {

/// The holders' half of combine: a domain's pieces of a block, to `stream`. outputs: of each of the domain's
/// members, by place, its expert batch's (terms, D).
void write_pieces(const plan::DispatchSetting& setting, const ops::Kernels& kernels,
                  std::span<const plan::PieceJob> jobs, std::span<std::byte* const> outputs, std::byte* stream);

/// The owner's half of combine. For each own row: finishes the leaf tree of each of its experts, rounds the output to
/// Act, applies the gate, and adds the terms up in the fixed tree over the expert index. streams: by domain, the pieces
/// that it sent. slots: of `plan`. m: fp32 (own rows, D).
void combine_pieces(const plan::DispatchSetting& setting, const ops::Kernels& kernels, const plan::OwnerPlan& plan,
                    const Routing& routing, std::span<const std::int32_t> slots,
                    std::span<const std::byte* const> streams, float* m);

}  // namespace moesaic::moe
