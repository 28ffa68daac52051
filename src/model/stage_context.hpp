#pragma once

#include "backend/backend.hpp"
#include "base/bytes.hpp"
#include "comm/exchange.hpp"
#include "model/probe.hpp"
#include "plan/dispatch_policy.hpp"
#include "plan/row_map.hpp"

namespace moesaic {

/// What all parts of a rank's stage share; lives as long as the model.
struct StageContext {
  const plan::Grid& grid;
  plan::WorldRank world_rank;
  plan::StageRank me;
  plan::StageId stage;
  backend::Backend& backend;
  backend::Queue& queue;
  const comm::Communicator& world;
  comm::Communicator stage_comm;  ///< the ranks of this stage, in stage order
  comm::Communicator group_comm;  ///< the shards of this rank's attention group
  plan::DispatchPolicy dispatch;
  Probe* probe = nullptr;

  const backend::Kernels& kernels() const { return backend.kernels(); }
  const ModelConfig& config() const { return grid.config(); }
  /// A row (D) of activations, as embedding and head take it.
  std::size_t act_row_bytes() const { return activation_row(backend.numerics(), config().emb_size).row_bytes(); }
  /// A normalised row as it travels to attention shards and experts.
  std::size_t input_row_bytes() const { return input_row(backend.numerics(), config().emb_size).row_bytes(); }
  bool is_first() const { return stage == plan::StageId(0); }
  bool is_last() const { return stage == grid.last_stage(); }

  /// Memory for what kernels make and use, and for what the host or other ranks get.
  backend::Buffer device_buffer() const { return {backend, backend::Space::kDevice}; }
  backend::Buffer pinned_buffer() const { return {backend, backend::Space::kPinned}; }

  /// A copy of what kernels have made, or will have made when they are through, for the host: waits for them.
  backend::Buffer host_copy(backend::ConstBytes from, std::size_t size_bytes) const {
    backend::Buffer copy(backend, backend::Space::kPinned, size_bytes);
    queue.copy(copy.data(), from, size_bytes);
    queue.wait();
    return copy;
  }
};

/// One micro-batch on its way through a stage: whose rows are whose.
struct BatchRows {
  const TokenBatch& batch;
  const plan::RowMap& map;
  plan::DispatchAlgorithm dispatch;
  Range own;                 ///< this rank's rows
  Range group;               ///< its attention group's rows
  backend::PageTable pages;  ///< of the group's rows

  std::int64_t num_own() const { return own.size(); }
  /// Shows values of own rows, (own rows, width), once a row, however many ranks own it. Nothing without a probe.
  void show(const StageContext& context, ProbePoint point, backend::Ptr<const float> values, std::int64_t width) const {
    if (!context.probe) return;
    const Range shown = map.share(context.me);
    const auto num_elems = static_cast<std::size_t>(shown.size() * width);
    const backend::Buffer copy = context.host_copy((values + (shown.begin - own.begin) * width).as<const std::byte>(),
                                                   num_elems * sizeof(float));
    context.probe->see(point, batch, shown, {copy.host<const float>(), num_elems});
  }
};

}  // namespace moesaic
