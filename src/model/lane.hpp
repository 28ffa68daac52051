#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "model/kv_cache.hpp"
#include "model/stage_context.hpp"
#include "moe/dispatch.hpp"

namespace moesaic {

/// A micro-batch on its way through a stage's layers, and what it takes along. Two lanes may be under way side by side,
/// so that the messages of one travel while the other computes: each has messages of its own.
class Lane {
 public:
  /// Collective over the stage.
  explicit Lane(StageContext& context) : context_(context), comm_(context.stage_comm.split(0)) {}

  /// From here on the lane is this batch's, which must stay as it is. cache: has its sequences' blocks. Collective over
  /// the stage.
  void enter(const TokenBatch& batch, const KvCache& cache);

  const BatchRows& rows() const { return *rows_; }
  std::span<std::byte> x_bytes() { return {x_.data(), num_x() * sizeof(float)}; }
  /// fp32 (T, D): own rows of the residual stream.
  float* x() { return x_.as<float>(); }
  /// Input (T, D): own rows, normalised, as they go into attention or to the experts.
  std::byte* input() { return input_.data(); }
  /// Own rows' experts in the layer that the lane is in.
  moe::Routing& routing() { return routing_; }
  /// Brings this batch's rows to their experts and back.
  moe::Dispatcher& dispatcher() { return *dispatcher_; }

 private:
  moe::Dispatcher& dispatcher_for(plan::DispatchAlgorithm algorithm);
  std::size_t num_x() const { return static_cast<std::size_t>(rows_->num_own() * context_.config().emb_size); }

  StageContext& context_;
  comm::Communicator comm_;
  std::map<plan::DispatchAlgorithm, std::unique_ptr<moe::Dispatcher>> dispatchers_;  // made when first used
  moe::Dispatcher* dispatcher_ = nullptr;
  std::optional<plan::RowMap> map_;
  std::vector<ops::RowContext> contexts_;  // of the group's rows
  std::optional<BatchRows> rows_;
  AlignedBuffer x_, input_;
  moe::Routing routing_;
};

}  // namespace moesaic
