#pragma once

#include "model/attention.hpp"
#include "model/lane.hpp"
#include "moe/experts.hpp"

namespace moesaic {

/// The decoder layers of a stage: one object serves them all, since only the weights and the cache differ. A
/// micro-batch passes a layer in three steps, between which its rows are on their way.
class DecoderLayer {
 public:
  DecoderLayer(StageContext& context, const RopeTable& rope, KvCache& cache);

  /// Attention; then own rows set out to their experts.
  void attend(const LayerWeights& w, plan::StageLayer layer, Lane& lane);
  /// This rank's experts work on what comes; their outputs set out.
  void run_experts(const LayerWeights& w, Lane& lane);
  /// The experts' outputs join the residual stream.
  void join(const LayerWeights& w, plan::StageLayer layer, Lane& lane);

 private:
  void norm(backend::Ptr<const float> x, backend::Ptr<const float> scale, const BatchRows& rows);
  void add(backend::Ptr<float> x, backend::Ptr<const float> y, const BatchRows& rows) const;
  void to_input(Lane& lane) const;
  void route(const LayerWeights& w, Lane& lane) const;
  void see(plan::StageLayer layer, Operation operation, backend::Ptr<const float> values, const BatchRows& rows) const;
  void see_routing(plan::StageLayer layer, Lane& lane) const;
  ModelLayer in_model(plan::StageLayer layer) const { return context_.grid.in_model(context_.stage, layer); }

  StageContext& context_;
  Attention attention_;
  moe::Experts experts_;
  moe::ExpertBatch expert_batch_;
  backend::Buffer normed_;  // fp32 (T, D)
  backend::Buffer block_;   // fp32 (T, D): output of attention or of the experts
};

}  // namespace moesaic
