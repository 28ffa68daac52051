#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "plan/dispatch_plan.hpp"

namespace moesaic::moe {

/// The rows that a rank's experts work on, grouped by local expert, and what they make of them.
struct ExpertBatch {
  plan::DispatchPlan plan;
  AlignedBuffer rows;     ///< Input (terms, D)
  AlignedBuffer outputs;  ///< (terms, D): each expert's complete output (Act) when it is not sliced, else this slice's
                          ///< subtree of the leaf sums (fp32)

  std::int64_t num_terms() const { return static_cast<std::int64_t>(plan.expert_rows.size()); }
  Range expert_terms(std::int64_t local_expert) const {
    const auto e = static_cast<std::size_t>(local_expert);
    return {plan.psum_expert_rows[e], plan.psum_expert_rows[e + 1]};
  }
};

}  // namespace moesaic::moe
