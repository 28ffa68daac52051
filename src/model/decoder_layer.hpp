#pragma once

#include <map>
#include <memory>

#include "model/attention.hpp"
#include "moe/dispatch.hpp"
#include "moe/experts.hpp"
#include "moe/router.hpp"

namespace moesaic {

/// The decoder layers of a stage: one object serves them all, since only the weights and the cache differ.
class DecoderLayer {
 public:
  DecoderLayer(StageContext& context, const RopeTable& rope, KvCache& cache);

  /// x: fp32 (T, D), the rank's own rows of the residual stream. layer: index in the stage.
  void forward(const LayerWeights& w, std::int64_t layer, const BatchRows& rows, float* x);

 private:
  moe::Dispatcher& dispatcher_for(plan::DispatchAlgorithm algorithm);
  void see_routing(std::int32_t layer, const BatchRows& rows) const;

  StageContext& context_;
  Attention attention_;
  moe::Router router_;
  std::map<plan::DispatchAlgorithm, std::unique_ptr<moe::Dispatcher>> dispatchers_;  // made when first used
  moe::Experts experts_;
  moe::Routing routing_;
  moe::ExpertBatch expert_batch_;
  AlignedBuffer normed_;  // fp32 (T, D)
  AlignedBuffer input_;   // Input (T, D)
  AlignedBuffer block_;   // fp32 (T, D): output of attention or of the experts
};

}  // namespace moesaic
