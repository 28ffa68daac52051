#pragma once

#include "backend/backend.hpp"
#include "config/model_config.hpp"

namespace moesaic {

/// Cosines and sines of the rotary embedding, (position, K/2): angle = fp32(position * fp32(1 / base^(2j/K))), cosine
/// and sine computed in double and rounded once.
class RopeTable {
 public:
  RopeTable(const ModelConfig& config, backend::Backend& backend);

  backend::Ptr<const float> cosines() const { return table_.as<float>(); }
  backend::Ptr<const float> sines() const { return cosines() + num_angles_; }

 private:
  std::int64_t num_angles_;
  backend::Buffer table_;
};

}  // namespace moesaic
