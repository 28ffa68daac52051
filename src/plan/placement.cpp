#include "plan/placement.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace moesaic::plan {
namespace {

void check(std::int64_t num_experts, const Placement::Subsets& held, std::size_t layer, const std::string& what) {
  IdVector<ExpertId, char> found(num_experts);
  for (const SubsetId subset : held.ids()) {
    ExpertId last(-1);
    for (const ExpertId expert : held[subset]) {
      if (!found.ids().contains(expert))
        fail("{}: layer {}, subset {}: expert {}, expected 0 to {}", what, layer, subset.value(), expert.value(),
             num_experts - 1);
      if (expert <= last)
        fail("{}: layer {}, subset {}: expert {} after {}, expected ascending ones, each once", what, layer,
             subset.value(), expert.value(), last.value());
      found[expert] = 1;
      last = expert;
    }
  }
  for (const ExpertId expert : found.ids())
    if (!found[expert]) fail("{}: layer {}: no subset holds expert {}", what, layer, expert.value());
}

}  // namespace

Placement::Subsets home_subsets(std::int64_t num_experts, int ep) {
  Placement::Subsets subsets(ep);
  for (const SubsetId subset : subsets.ids())
    for (const ExpertId expert : IdRange<ExpertId>(even_part(num_experts, ep, subset.value())))
      subsets[subset].push_back(expert);
  return subsets;
}

Placement::Placement(std::int64_t num_experts, int ep) : Placement(num_experts, {home_subsets(num_experts, ep)}) {}

Placement::Placement(std::int64_t num_experts, std::vector<Subsets> layers, const std::string& what)
    : num_experts_(num_experts) {
  if (layers.empty() || layers[0].empty()) fail("{}: no layers, or no subsets", what);
  IdVector<SubsetId, std::int64_t> most(layers[0].size());
  for (std::size_t l = 0; l < layers.size(); ++l) {
    if (layers[l].size() != most.size())
      fail("{}: layer {} has {} subsets, layer 0 has {}", what, l, layers[l].size(), most.size());
    check(num_experts, layers[l], l, what);
    for (const SubsetId subset : most.ids()) most[subset] = std::max(most[subset], std::ssize(layers[l][subset]));
  }
  for (const SubsetId subset : most.ids()) {
    const SlotId first(num_slots());
    for (std::int64_t i = 0; i < most[subset]; ++i) subset_of_slot_.push_back(subset);
    slots_.emplace_back(first, SlotId(num_slots()));
  }
  at_home_ = true;
  for (Subsets& held : layers) {
    at_home_ = at_home_ && held == home_subsets(num_experts, num_subsets());
    index_slots(layers_.emplace_back(std::move(held)));
  }
}

void Placement::index_slots(Layer& layer) const {
  layer.slots.assign(num_experts_, {});
  for (const SubsetId subset : layer.held.ids())
    for (std::int64_t i = 0; const ExpertId expert : layer.held[subset])
      layer.slots[expert].push_back(slots(subset)[i++]);
}

std::int64_t Placement::num_copies() const {
  std::int64_t most = 0;
  for (const Layer& layer : layers_) {
    std::int64_t held = 0;
    for (const auto& experts : layer.held) held += std::ssize(experts);
    most = std::max(most, held);
  }
  return most - num_experts_;
}

}  // namespace moesaic::plan
