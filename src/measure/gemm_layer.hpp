#pragma once

#include <vector>

#include "comm/mpi.hpp"
#include "measure/compute.hpp"
#include "moe/experts.hpp"
#include "moe/routing.hpp"

namespace moesaic::measure {

/// A layer's router and one rank's experts with random weights of the model's geometry: what stand-ins do not cost.
class GemmLayer {
 public:
  /// Collective; Error when the weights do not fit in a node's memory.
  GemmLayer(const comm::Communicator& world, const plan::Grid& grid, const Compute& compute);

  /// As moe::Experts::run().
  void run_experts(const moe::ExpertBatch& batch) { experts_.run(weights_, batch); }
  /// Routes num_rows rows (of random numbers) and forgets where they would go.
  void route(std::int64_t num_rows);

 private:
  const plan::Grid& grid_;
  const Compute compute_;
  moe::Experts experts_;
  backend::Buffer memory_;             // of the packed matrices
  moe::ExpertWeights weights_;         // of local experts
  std::vector<float> router_weights_;  // (D, E)
  std::vector<float> rows_;            // (most rows so far, D)
  moe::Routing routing_;
};

}  // namespace moesaic::measure
