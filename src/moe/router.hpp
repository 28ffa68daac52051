#pragma once

#include <cstdint>

#include "moe/routing.hpp"
#include "ops/kernels.hpp"

namespace moesaic::moe {

/// Routes rows: logits = n . weights, softmax over all experts, the num_active largest.
/// n: fp32 (num_rows, width), normalised, unrounded; weights: fp32 (width, num_experts).
class Router {
 public:
  Router(const ops::Kernels& kernels, std::int64_t width, std::int64_t num_experts, std::int64_t num_active)
      : kernels_(kernels), width_(width), num_experts_(num_experts), num_active_(num_active) {}

  void route(const float* n, std::int64_t num_rows, const float* weights, Routing& routing);

 private:
  const ops::Kernels& kernels_;
  std::int64_t width_, num_experts_, num_active_;
  std::vector<float> probabilities_;  // (rows, E), holds the logits first
  std::vector<std::int32_t> order_;   // (E) of a row
};

}  // namespace moesaic::moe
