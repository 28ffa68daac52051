#pragma once

#include <cstdint>
#include <vector>

namespace moesaic::moe {

/// The router's choice for a rank's own rows (T), each with A experts and their gates: softmax probabilities over all
/// E, not renormalised.
struct Routing {
  std::vector<std::int32_t> experts;            ///< (T, A) best first; equal logits: the lower index first
  std::vector<float> gates;                     ///< (T, A) of the same experts
  std::vector<std::int32_t> ascending_experts;  ///< (T, A) the same experts by ascending index
  std::vector<float> ascending_gates;           ///< (T, A)
};

}  // namespace moesaic::moe
