#include "plan/placement.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace moesaic::plan {
namespace {

void check(std::int64_t num_experts, const Placement::Subsets& held, std::size_t layer, const std::string& what) {
  std::vector<char> found(static_cast<std::size_t>(num_experts));
  for (std::size_t subset = 0; subset < held.size(); ++subset) {
    const auto& experts = held[subset];
    for (std::size_t i = 0; i < experts.size(); ++i) {
      if (experts[i] < 0 || experts[i] >= num_experts)
        fail("{}: layer {}, subset {}: expert {}, expected 0 to {}", what, layer, subset, experts[i], num_experts - 1);
      if (i > 0 && experts[i] <= experts[i - 1])
        fail("{}: layer {}, subset {}: expert {} after {}, expected ascending ones, each once", what, layer, subset,
             experts[i], experts[i - 1]);
      found[static_cast<std::size_t>(experts[i])] = 1;
    }
  }
  const auto missing = std::find(found.begin(), found.end(), 0);
  if (missing != found.end()) fail("{}: layer {}: no subset holds expert {}", what, layer, missing - found.begin());
}

}  // namespace

Placement::Subsets home_subsets(std::int64_t num_experts, int ep) {
  Placement::Subsets subsets(static_cast<std::size_t>(ep));
  for (int subset = 0; subset < ep; ++subset) {
    const Range part = even_part(num_experts, ep, subset);
    for (auto e = part.begin; e < part.end; ++e)
      subsets[static_cast<std::size_t>(subset)].push_back(static_cast<std::int32_t>(e));
  }
  return subsets;
}

Placement::Placement(std::int64_t num_experts, int ep) : Placement(num_experts, {home_subsets(num_experts, ep)}) {}

Placement::Placement(std::int64_t num_experts, std::vector<Subsets> layers, const std::string& what)
    : num_experts_(num_experts) {
  if (layers.empty() || layers[0].empty()) fail("{}: no layers, or no subsets", what);
  std::vector<std::size_t> most(layers[0].size());
  for (std::size_t l = 0; l < layers.size(); ++l) {
    if (layers[l].size() != most.size())
      fail("{}: layer {} has {} subsets, layer 0 has {}", what, l, layers[l].size(), most.size());
    check(num_experts, layers[l], l, what);
    for (std::size_t s = 0; s < most.size(); ++s) most[s] = std::max(most[s], layers[l][s].size());
  }
  psum_slots_.push_back(0);
  for (std::size_t s = 0; s < most.size(); ++s) {
    psum_slots_.push_back(psum_slots_.back() + static_cast<std::int32_t>(most[s]));
    subset_of_slot_.insert(subset_of_slot_.end(), most[s], static_cast<int>(s));
  }
  at_home_ = true;
  for (Subsets& held : layers) {
    at_home_ = at_home_ && held == home_subsets(num_experts, num_subsets());
    layers_.push_back({std::move(held), {}, {}});
    index_slots(layers_.back());
  }
}

void Placement::index_slots(Layer& layer) const {
  layer.psum_slots.assign(static_cast<std::size_t>(num_experts_) + 1, 0);
  for (const auto& experts : layer.held)
    for (const std::int32_t e : experts) ++layer.psum_slots[static_cast<std::size_t>(e) + 1];
  for (std::size_t e = 1; e < layer.psum_slots.size(); ++e) layer.psum_slots[e] += layer.psum_slots[e - 1];
  layer.slots.resize(static_cast<std::size_t>(layer.psum_slots.back()));
  std::vector<std::int32_t> next(layer.psum_slots.begin(), layer.psum_slots.end() - 1);
  for (std::size_t s = 0; s < layer.held.size(); ++s)
    for (std::size_t i = 0; i < layer.held[s].size(); ++i)
      layer.slots[static_cast<std::size_t>(next[static_cast<std::size_t>(layer.held[s][i])]++)] =
          psum_slots_[s] + static_cast<std::int32_t>(i);
}

std::int64_t Placement::num_copies() const {
  std::size_t most = 0;
  for (const Layer& layer : layers_) most = std::max(most, layer.slots.size());
  return static_cast<std::int64_t>(most) - num_experts_;
}

}  // namespace moesaic::plan
