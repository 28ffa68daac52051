#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "base/range.hpp"

namespace moesaic::moe {

/// Rows that a rank's experts work on together, grouped by local expert, and what they make of them. A dispatcher fills
/// it, the experts write the outputs.
struct ExpertBatch {
  std::vector<std::int32_t> psum_expert_rows;  ///< of local experts, num_local + 1
  AlignedBuffer rows;                          ///< Input (terms, D)
  std::byte* outputs = nullptr;  ///< (terms, D): each expert's complete output (Act) when it is not sliced, else this
                                 ///< slice's subtree of the leaf sums (fp32)

  std::int64_t num_terms() const { return psum_expert_rows.empty() ? 0 : psum_expert_rows.back(); }
  Range expert_terms(std::int64_t local_expert) const {
    const auto e = static_cast<std::size_t>(local_expert);
    return {psum_expert_rows[e], psum_expert_rows[e + 1]};
  }
};

}  // namespace moesaic::moe
