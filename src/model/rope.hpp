#pragma once

#include <cstdint>
#include <vector>

#include "config/model_config.hpp"

namespace moesaic {

/// Cosines and sines of the rotary embedding, (position, K/2): angle = fp32(position * fp32(1 / base^(2j/K))), cosine
/// and sine computed in double and rounded once.
struct RopeTable {
  explicit RopeTable(const ModelConfig& config);
  std::vector<float> cosines, sines;
};

}  // namespace moesaic
