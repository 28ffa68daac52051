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
  explicit Lane(StageContext& context);

  /// From here on the lane is this batch's, which must stay as it is. cache: has its sequences' blocks. Collective over
  /// the stage.
  void enter(const TokenBatch& batch, const KvCache& cache);

  const BatchRows& rows() const { return *rows_; }
  std::size_t x_bytes() const { return bytes_of<float>(rows_->num_own() * width()); }
  /// fp32 (T, D): own rows of the residual stream.
  backend::Ptr<float> x() const { return x_.as<float>(); }
  /// Input (T, D): own rows, normalised, as they go into attention or to the experts.
  const backend::Buffer& input() const { return input_; }
  /// Own rows' experts in the layer that the lane is in.
  moe::Routing& routing() { return routing_; }
  /// Brings this batch's rows to their experts and back.
  moe::Dispatcher& dispatcher() { return *dispatcher_; }

 private:
  moe::Dispatcher& dispatcher_for(plan::DispatchAlgorithm algorithm);
  std::int64_t width() const { return context_.config().emb_size; }
  backend::PageTable make_page_table(const TokenBatch& batch, Range group, const KvCache& cache);

  StageContext& context_;
  comm::Communicator comm_;
  std::map<plan::DispatchAlgorithm, std::unique_ptr<moe::Dispatcher>> dispatchers_;  // made when first used
  moe::Dispatcher* dispatcher_ = nullptr;
  std::optional<plan::RowMap> map_;
  std::vector<backend::RowContext> contexts_;  // of the group's rows
  std::vector<backend::Bytes> blocks_;         // of their sequences
  std::optional<BatchRows> rows_;
  backend::Buffer table_;  // contexts_, then blocks_, where kernels read them
  backend::Buffer x_, input_;
  moe::Routing routing_;
};

}  // namespace moesaic
