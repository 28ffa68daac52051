#pragma once

#include <vector>

#include "backend/backend.hpp"
#include "moe/expert_batch.hpp"
#include "plan/grid.hpp"

namespace moesaic::moe {

/// The weights of the experts that a rank holds in a layer, one a slot: its slice of their ffn axis.
struct ExpertWeights {
  std::vector<backend::Matrix> gate;  ///< (D, slice), xAI's linear
  std::vector<backend::Matrix> up;    ///< (D, slice), linear_v
  std::vector<backend::Matrix> down;  ///< (leaves of the slice, D), linear_1
};

/// Runs a rank's experts on their rows: outputs = down(gelu(rows . gate) * (rows . up)).
class Experts {
 public:
  Experts(const plan::Grid& grid, backend::Backend& backend, backend::Queue& queue);

  /// Writes batch.outputs. The weights outlive the queue's kernels.
  void run(const ExpertWeights& weights, const ExpertBatch& batch);

 private:
  const plan::Grid& grid_;
  backend::Backend& backend_;
  backend::Queue& queue_;
  backend::Buffer hidden_;  // Input (terms, slice)
  backend::Buffer sums_;    // fp32 (terms, D)
};

}  // namespace moesaic::moe
