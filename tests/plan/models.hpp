#pragma once

#include <vector>

#include "config/grok1.hpp"
#include "plan/placement.hpp"

namespace moesaic::test {

/// A model that matters to plans by these counts alone.
inline ModelConfig small_model(std::int64_t num_layers, std::int64_t num_kv_heads, std::int64_t num_experts,
                               std::int64_t num_active, std::int64_t vocab_size = 1000) {
  ModelConfig config = kGrok1;
  config.vocab_size = vocab_size;
  config.emb_size = 64;
  config.num_layers = num_layers;
  config.num_q_heads = 2 * num_kv_heads;
  config.num_kv_heads = num_kv_heads;
  config.key_size = 16;
  config.ffn_size = 128;
  config.num_experts = num_experts;
  config.num_selected_experts = num_active;
  return config;
}

/// What each subset of a layer holds.
inline plan::Placement::Subsets subsets(const std::vector<std::vector<int>>& experts) {
  plan::Placement::Subsets held;
  for (const auto& list : experts) held.push_back({list.begin(), list.end()});
  return held;
}

}  // namespace moesaic::test
