#pragma once

#include <cstdint>
#include <vector>

#include "backend/memory.hpp"
#include "base/range.hpp"

namespace moesaic::moe {

/// Rows that a rank's experts work on together, grouped by own slot, and what they make of them. A dispatcher fills
/// it, the experts write the outputs.
struct ExpertBatch {
  explicit ExpertBatch(backend::Memory& memory) : rows(memory, backend::Space::kDevice) {}

  std::vector<std::int32_t> psum_slot_rows;  ///< of own slots, their number + 1
  backend::Buffer rows;                      ///< Input (terms, D)
  backend::Bytes outputs;  ///< (terms, D): each expert's complete output (Act) when it is not sliced, else this slice's
                           ///< subtree of the leaf sums (fp32)

  std::int64_t num_terms() const { return psum_slot_rows.empty() ? 0 : psum_slot_rows.back(); }
  /// Terms of the i-th expert that the rank holds.
  Range expert_terms(std::int64_t i) const {
    const auto e = static_cast<std::size_t>(i);
    return {psum_slot_rows[e], psum_slot_rows[e + 1]};
  }
};

}  // namespace moesaic::moe
