#pragma once

#include <cstdint>
#include <string>

#include "config/model_config.hpp"

namespace moesaic::converters {

struct SynthesizeOptions {
  ModelConfig config;
  std::string name;  ///< for provenance
  std::uint64_t seed = 1;
  std::string out;
  bool force = false;
  int num_threads = 1;  ///< the result does not depend on it
};

/// Writes a store of random weights: N(0, 1/fan_in), norms 1 + 0.1 N(0, 1), int8 with bf16 scales a channel (8 groups
/// for the row-parallel tensors). Activations keep a sane scale and routing is not degenerate.
void synthesize(const SynthesizeOptions& options);

}  // namespace moesaic::converters
