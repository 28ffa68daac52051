#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/range.hpp"

namespace moesaic::plan {

/// Which experts each subset of a stage holds, layer by layer; a hot one may be held by several. What travels and what
/// is computed is counted in **slots**: places for an expert, numbered through subset after subset. A subset has as
/// many in each layer, those that a layer leaves empty at its end. Without copies expert e is in slot e.
class Placement {
 public:
  /// The experts that each subset holds, ascending; indexed by subset.
  using Subsets = std::vector<std::vector<std::int32_t>>;

  /// Each expert once, where it is at home: even parts of ascending experts.
  Placement(std::int64_t num_experts, int ep);
  /// layers: what the subsets hold in each decoder layer; one entry: in all of them. Error unless each layer holds each
  /// expert, and no subset one of them twice; `what` names the placement in it.
  Placement(std::int64_t num_experts, std::vector<Subsets> layers, const std::string& what = "placement");

  std::int64_t num_experts() const { return num_experts_; }
  int num_subsets() const { return static_cast<int>(psum_slots_.size()) - 1; }
  /// Number of layers that are told apart; 1: all layers are alike.
  std::int64_t num_layers() const { return static_cast<std::int64_t>(layers_.size()); }
  /// Expert e is in slot e of each layer.
  bool at_home() const { return at_home_; }
  /// Number of experts held beyond one of each, in the layer with the most.
  std::int64_t num_copies() const;

  Range slots(int subset) const {
    const auto s = static_cast<std::size_t>(subset);
    return {psum_slots_[s], psum_slots_[s + 1]};
  }
  std::int64_t num_slots() const { return psum_slots_.back(); }
  int subset_of_slot(std::int64_t slot) const { return subset_of_slot_[static_cast<std::size_t>(slot)]; }
  /// Experts that a subset holds in a layer; the i-th is in slot slots(subset).begin + i.
  const std::vector<std::int32_t>& experts(std::int64_t layer, int subset) const {
    return at(layer).held[static_cast<std::size_t>(subset)];
  }
  const Subsets& subsets(std::int64_t layer) const { return at(layer).held; }
  /// Where an expert of a layer is, ascending: one slot a subset that holds it.
  std::span<const std::int32_t> slots_of(std::int64_t layer, std::int64_t expert) const {
    const Layer& of = at(layer);
    const auto e = static_cast<std::size_t>(expert);
    return std::span(of.slots).subspan(static_cast<std::size_t>(of.psum_slots[e]),
                                       static_cast<std::size_t>(of.psum_slots[e + 1] - of.psum_slots[e]));
  }

 private:
  struct Layer {
    Subsets held;
    std::vector<std::int32_t> psum_slots, slots;  // slots of each expert, one expert after another
  };
  const Layer& at(std::int64_t layer) const {
    return layers_[layers_.size() == 1 ? 0 : static_cast<std::size_t>(layer)];
  }
  void index_slots(Layer& layer) const;

  std::int64_t num_experts_;
  std::vector<Layer> layers_;
  std::vector<std::int32_t> psum_slots_;  // first slot of each subset, and their number
  std::vector<int> subset_of_slot_;
  bool at_home_ = false;
};

/// The experts that each subset holds when nothing else is asked for: even parts of ascending experts.
Placement::Subsets home_subsets(std::int64_t num_experts, int ep);

}  // namespace moesaic::plan
