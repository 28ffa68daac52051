#pragma once

#include <algorithm>
#include <random>

#include "config/model_config.hpp"
#include "plan/placement.hpp"

namespace moesaic::test {

/// Each layer has each expert somewhere, and some of them in further subsets.
inline plan::Placement random_placement(std::mt19937& random, const ModelConfig& config, int ep) {
  const unsigned one_in = 1 + static_cast<unsigned>(random() % 4);  // 1: all subsets hold all
  std::vector<plan::Placement::Subsets> layers(static_cast<std::size_t>(config.num_layers));
  for (auto& held : layers) {
    held.resize(ep);
    for (const ExpertId expert : ids<ExpertId>(config.num_experts)) {
      const plan::SubsetId home(random() % static_cast<unsigned>(ep));
      for (const plan::SubsetId subset : held.ids())
        if (subset == home || random() % one_in == 0) held[subset].push_back(expert);
    }
  }
  return {config.num_experts, std::move(layers)};
}

}  // namespace moesaic::test
