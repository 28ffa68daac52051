#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "config/model_config.hpp"

namespace moesaic::converters {

/// The reference workloads of docs/performance: "tiny", "mini" (1.2 GB), "slice" (Grok-1's own dimensions, 2 layers,
/// about 10 GB); nullopt for another name.
std::optional<ModelConfig> preset(std::string_view name);

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
