#pragma once

#include "comm/exchange.hpp"
#include "model/probe.hpp"
#include "ops/kernels.hpp"
#include "plan/dispatch_policy.hpp"
#include "plan/row_map.hpp"

namespace moesaic {

/// What all parts of a rank's stage share; lives as long as the model.
struct StageContext {
  const plan::Grid& grid;
  plan::WorldRank world_rank;
  plan::StageRank me;
  int stage;
  const ops::Kernels& kernels;
  const comm::Communicator& world;
  comm::Communicator stage_comm;  ///< the ranks of this stage, in stage order
  comm::Communicator group_comm;  ///< the shards of this rank's attention group
  plan::DispatchPolicy dispatch;
  Probe* probe = nullptr;

  const ModelConfig& config() const { return grid.config(); }
  std::size_t act_bytes() const { return size_bytes(activation_type(kernels.numerics)); }
  /// A normalised row as it travels to attention shards and experts.
  std::size_t input_row_bytes() const { return GemmInput{kernels.numerics, config().emb_size}.row_bytes(); }
  bool is_first() const { return stage == 0; }
  bool is_last() const { return stage == grid.num_stages() - 1; }
};

/// One micro-batch on its way through a stage: whose rows are whose.
struct BatchRows {
  const TokenBatch& batch;
  const plan::RowMap& map;
  plan::DispatchAlgorithm dispatch;
  Range own;                                     ///< this rank's rows
  Range group;                                   ///< its attention group's rows
  const std::vector<ops::RowContext>& contexts;  ///< of the group's rows

  std::int64_t num_own() const { return own.size(); }
  /// Shows values of own rows, (own rows, width), once a row, however many ranks own it.
  void show(Probe& probe, plan::StageRank me, ProbePoint point, const float* values, std::int64_t width) const {
    const Range shown = map.share(me);
    probe.see(point, batch, shown,
              {values + (shown.begin - own.begin) * width, static_cast<std::size_t>(shown.size() * width)});
  }
};

}  // namespace moesaic
