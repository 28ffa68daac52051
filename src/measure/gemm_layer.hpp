#pragma once

#include <vector>

#include "comm/mpi.hpp"
#include "moe/experts.hpp"
#include "moe/router.hpp"

namespace moesaic::measure {

/// A layer's router and one rank's experts with random weights of the model's geometry: what stand-ins do not cost.
class GemmLayer {
 public:
  /// Collective; Error when the weights do not fit in a node's memory.
  GemmLayer(const comm::Communicator& world, const plan::Grid& grid, const ops::Kernels& kernels);

  /// As moe::Experts::run().
  void run_experts(moe::ExpertBatch& batch) { experts_.run(weights_, batch); }
  /// Routes num_rows rows (of random numbers) and forgets where they would go.
  void route(std::int64_t num_rows);

 private:
  const plan::Grid& grid_;
  moe::Router router_;
  moe::Experts experts_;
  AlignedBuffer memory_;                     // holds the packed matrices
  std::vector<moe::ExpertWeights> weights_;  // by local expert
  std::vector<float> router_weights_;        // (D, E)
  std::vector<float> rows_;                  // (most rows so far, D)
  moe::Routing routing_;
};

}  // namespace moesaic::measure
