#pragma once

#include "comm/exchange.hpp"
#include "model/probe.hpp"
#include "ops/kernels.hpp"
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
  Range own;                                     ///< this rank's rows
  Range group;                                   ///< its attention group's rows
  const std::vector<ops::RowContext>& contexts;  ///< of the group's rows

  std::int64_t num_own() const { return own.size(); }
};

}  // namespace moesaic
