#include "model/stage.hpp"

#include <cstring>

#include "base/parallel.hpp"
#include "base/trace.hpp"

namespace moesaic {
namespace {

constexpr int kHandOverTag = 3;

/// All stages choose as the first does: whose rows are whose must be the same in all.
void share_choices(const comm::Communicator& world, plan::DispatchPolicy& policy) {
  using Choice = plan::DispatchPolicy::Choice;
  const auto own = std::as_bytes(std::span(policy.choices()));
  std::vector<std::byte> bytes(own.begin(), own.end());
  world.broadcast(bytes, 0);
  std::vector<Choice> choices(bytes.size() / sizeof(Choice));
  if (!bytes.empty()) std::memcpy(choices.data(), bytes.data(), bytes.size());
  policy.adopt(std::move(choices));
}

StageContext make_context(const comm::Communicator& world, const plan::Grid& grid, const ops::Kernels& kernels,
                          const plan::DispatchRequest& dispatch, int num_threads) {
  const plan::WorldRank rank{world.rank()};
  const plan::StageRank me = grid.in_stage(rank);
  const int stage = grid.stage(rank);
  const int num_groups = grid.layout().dp;
  comm::Communicator stage_comm = world.split(stage);
  comm::Communicator group_comm = world.split(stage * num_groups + grid.group(me));
  plan::DispatchPolicy policy(grid, dispatch, moe::nodes_of(stage_comm), kernels.numerics, num_threads);
  share_choices(world, policy);
  return {grid, rank, me, stage, kernels, world, std::move(stage_comm), std::move(group_comm), std::move(policy)};
}

std::int64_t layers_here(const StageContext& context) { return context.grid.layers(context.stage).size(); }

std::int64_t heads_here(const StageContext& context) {
  return context.grid.kv_heads(context.grid.shard(context.me)).size();
}

}  // namespace

Stage::Stage(const comm::Communicator& world, const plan::Grid& grid, const ops::Kernels& kernels, ModelWeights weights,
             const plan::DispatchRequest& dispatch)
    : grid_(grid),
      context_(make_context(world, grid_, kernels, dispatch, num_threads())),
      weights_(std::move(weights)),
      rope_(grid.config()),
      cache_({activation_type(kernels.numerics), grid.config().key_size}, layers_here(context_), heads_here(context_)),
      layer_(context_, rope_, cache_),
      embedding_(context_, weights_.embedding),
      head_(context_, embedding_, weights_.final_norm),
      outbox_(context_.world) {}

void Stage::run(const Step& step, const HeadSink& sink) {
  const TraceZone zone(Zone::kStep);
  assign_blocks(step);
  for (const TokenBatch& batch : step.batches) forward(batch, sink);
  if (context_.world.rank() == 0 && !context_.is_last())
    for (const TokenBatch& batch : step.batches) head_.collect(batch, sink);
  timed(Zone::kHandOver, [&] { outbox_.drain(); });
  head_.finish();
}

void Stage::forward(const TokenBatch& batch, const HeadSink& sink) {
  const plan::DispatchAlgorithm dispatch = context_.dispatch.algorithm(batch.num_rows());
  const plan::RowMap map(
      grid_, batch.num_group_rows,
      dispatch == plan::DispatchAlgorithm::kDense ? plan::Ownership::kReplicated : plan::Ownership::kShared);
  const Range own = map.rows(context_.me), group = map.group_rows(grid_.group(context_.me));
  const auto at = [](const std::vector<std::int32_t>& list, std::int64_t row) {
    return list[static_cast<std::size_t>(row)];
  };
  contexts_.clear();
  for (std::int64_t row = group.begin; row < group.end; ++row)
    contexts_.push_back({cache_.blocks(at(batch.sequences, row)), at(batch.positions, row)});
  const BatchRows rows{batch, map, dispatch, own, group, contexts_};

  const std::size_t x_bytes = static_cast<std::size_t>(own.size() * grid_.config().emb_size) * sizeof(float);
  x_.reserve(x_bytes);
  const int neighbour = grid_.ranks_per_stage();  // the same place in the next stage owns the same rows
  if (context_.is_first()) {
    embedding_.embed(rows, x_.as<float>());
    see(-1, Operation::kEmbed, rows);
  } else {
    timed(Zone::kHandOver, [&] {
      comm::receive(context_.world, {x_.data(), x_bytes}, context_.world.rank() - neighbour, kHandOverTag);
    });
  }
  for (std::size_t layer = 0; layer < weights_.layers.size(); ++layer) {
    position().layer = static_cast<std::int32_t>(grid_.layers(context_.stage).begin) + static_cast<std::int32_t>(layer);
    layer_.forward(weights_.layers[layer], static_cast<std::int64_t>(layer), rows, x_.as<float>());
  }
  position().layer = Position::kNoLayer;
  if (context_.is_last())
    head_.project(rows, x_.as<float>(), sink);
  else
    outbox_.post({x_.data(), x_.data() + x_bytes}, context_.world.rank() + neighbour, kHandOverTag);
}

void Stage::assign_blocks(const Step& step) {
  for (const std::int32_t sequence : step.released) cache_.release(sequence);
  for (const BlockGrant& grant : step.grants)
    if (grant.group == grid_.group(context_.me)) cache_.grant(grant.sequence, grant.blocks);
}

void Stage::see(std::int32_t layer, Operation operation, const BatchRows& rows) {
  if (context_.probe)
    rows.show(*context_.probe, context_.me, {layer, operation}, x_.as<float>(), grid_.config().emb_size);
}

}  // namespace moesaic
