#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/ids.hpp"

namespace moesaic::plan {

/// Which experts each subset of a stage holds, layer by layer; a hot one may be held by several. What travels and what
/// is computed is counted in **slots**: places for an expert, numbered through subset after subset. A subset has as
/// many in each layer, those that a layer leaves empty at its end. Without copies expert e is in slot e.
class Placement {
 public:
  /// The experts that each subset holds, ascending; indexed by subset.
  using Subsets = IdVector<SubsetId, std::vector<ExpertId>>;

  /// Each expert once, where it is at home: even parts of ascending experts.
  Placement(std::int64_t num_experts, int ep);
  /// layers: what the subsets hold in each decoder layer; one entry: in all of them. Error unless each layer holds each
  /// expert, and no subset one of them twice; `what` names the placement in it.
  Placement(std::int64_t num_experts, std::vector<Subsets> layers, const std::string& what = "placement");

  std::int64_t num_experts() const { return num_experts_; }
  int num_subsets() const { return static_cast<int>(slots_.size()); }
  /// Number of layers that are told apart; 1: all layers are alike.
  std::int64_t num_layers() const { return layers_.size(); }
  /// Expert e is in slot e of each layer.
  bool at_home() const { return at_home_; }
  /// Number of experts held beyond one of each, in the layer with the most.
  std::int64_t num_copies() const;

  IdRange<SlotId> slots(SubsetId subset) const { return slots_[subset]; }
  std::int64_t num_slots() const { return subset_of_slot_.size(); }
  SubsetId subset_of_slot(SlotId slot) const { return subset_of_slot_[slot]; }
  /// Experts that a subset holds in a layer; the i-th is in slots(subset)[i].
  const std::vector<ExpertId>& experts(ModelLayer layer, SubsetId subset) const { return at(layer).held[subset]; }
  const Subsets& subsets(ModelLayer layer) const { return at(layer).held; }
  /// Where an expert of a layer is, ascending: one slot a subset that holds it.
  const std::vector<SlotId>& slots_of(ModelLayer layer, ExpertId expert) const { return at(layer).slots[expert]; }

 private:
  struct Layer {
    Subsets held;
    IdVector<ExpertId, std::vector<SlotId>> slots;
  };
  const Layer& at(ModelLayer layer) const { return layers_[layers_.size() == 1 ? ModelLayer(0) : layer]; }
  void index_slots(Layer& layer) const;

  std::int64_t num_experts_;
  IdVector<ModelLayer, Layer> layers_;
  IdVector<SubsetId, IdRange<SlotId>> slots_;
  IdVector<SlotId, SubsetId> subset_of_slot_;
  bool at_home_ = false;
};

/// The experts that each subset holds when nothing else is asked for: even parts of ascending experts.
Placement::Subsets home_subsets(std::int64_t num_experts, int ep);

}  // namespace moesaic::plan
