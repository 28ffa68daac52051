#pragma once

#include <vector>

#include "moe/expert_batch.hpp"
#include "ops/kernels.hpp"
#include "plan/grid.hpp"

namespace moesaic::moe {

/// One expert's weights on one rank: its slice of the ffn axis.
struct ExpertWeights {
  ops::PackedMatrix gate;  ///< (D, slice), xAI's linear
  ops::PackedMatrix up;    ///< (D, slice), linear_v
  ops::PackedMatrix down;  ///< (leaves of the slice, D), linear_1
};

/// Runs a rank's experts on their rows: outputs = down(gelu(rows . gate) * (rows . up)).
class Experts {
 public:
  Experts(const plan::Grid& grid, const ops::Kernels& kernels) : grid_(grid), kernels_(kernels) {}

  /// weights: of the experts that the rank holds in this layer, one a slot. Writes batch.outputs.
  void run(std::span<const ExpertWeights> weights, ExpertBatch& batch);

 private:
  const plan::Grid& grid_;
  const ops::Kernels& kernels_;
  AlignedBuffer hidden_;  // Input (rows of an expert, slice)
  AlignedBuffer sums_;    // fp32 (rows of an expert, D)
};

}  // namespace moesaic::moe
