#include "model/stage.hpp"

#include <algorithm>
#include <optional>

#include "base/out_of_memory.hpp"
#include "base/parallel.hpp"
#include "base/trace.hpp"
#include "comm/share.hpp"

namespace moesaic {
namespace {

constexpr int kHandOverTag = 3;

/// All stages choose as the first does: whose rows are whose must be the same in all.
void share_choices(const comm::Communicator& world, plan::DispatchPolicy& policy) {
  policy.adopt(comm::shared(world, policy.choices()));
}

StageContext make_context(const comm::Communicator& world, const plan::Grid& grid, backend::Backend& backend,
                          backend::Queue& queue, const plan::DispatchRequest& dispatch, int num_threads) {
  const plan::WorldRank rank{world.rank()};
  const plan::StageRank me = grid.in_stage(rank);
  const plan::StageId stage = grid.stage(rank);
  const int num_groups = grid.layout().dp;
  comm::Communicator stage_comm = world.split(stage.value());
  comm::Communicator group_comm = world.split(stage.value() * num_groups + grid.group(me).value());
  plan::DispatchPolicy policy(grid, dispatch, moe::nodes_of(stage_comm), backend.numerics(), num_threads);
  share_choices(world, policy);
  return {
      grid, rank, me, stage, backend, queue, world, std::move(stage_comm), std::move(group_comm), std::move(policy)};
}

std::int64_t layers_here(const StageContext& context) { return context.grid.layers(context.stage).size(); }

std::int64_t heads_here(const StageContext& context) {
  return context.grid.kv_heads(context.grid.shard(context.me)).size();
}

}  // namespace

Stage::Stage(const comm::Communicator& world, const plan::Grid& grid, std::shared_ptr<backend::Backend> backend,
             ModelWeights weights, const plan::DispatchRequest& dispatch)
    : grid_(grid),
      backend_(std::move(backend)),
      queue_(backend_->make_queue()),
      context_(make_context(world, grid_, *backend_, *queue_, dispatch, num_threads())),
      weights_(std::move(weights)),
      rope_(grid.config(), *backend_),
      cache_(*backend_, *queue_, {activation_type(backend_->numerics()), grid.config().key_size}, layers_here(context_),
             heads_here(context_)),
      lanes_{Lane(context_), Lane(context_)},
      layer_(context_, rope_, cache_),
      embedding_(context_, weights_.embedding),
      head_(context_, embedding_, weights_.final_norm),
      outbox_(context_.world),
      handed_over_(context_.pinned_buffer()) {}

void Stage::run(const Step& step, const HeadSink& sink) {
  const TraceZone zone(Zone::kStep);
  const MemoryPurpose purpose("the rows of a step; a lower --prefill-chunk (or --batch-rows) or more ranks take less");
  assign_blocks(step);
  const auto together = static_cast<std::size_t>(step.side_by_side);
  for (std::span<const TokenBatch> rest = step.batches; !rest.empty();) {
    const auto batches = rest.first(std::min(together, rest.size()));
    forward(batches, sink);
    rest = rest.subspan(batches.size());
  }
  if (context_.world.rank() == 0 && !context_.is_last())
    for (const TokenBatch& batch : step.batches) head_.collect(batch, sink);
  timed(Zone::kHandOver, [&] { outbox_.drain(); });
  head_.finish();
}

void Stage::forward(std::span<const TokenBatch> batches, const HeadSink& sink) {
  const std::span lanes = std::span(lanes_).first(batches.size());
  for (std::size_t i = 0; i < lanes.size(); ++i) begin(lanes[i], batches[i]);
  pass_layers(lanes);
  for (Lane& lane : lanes) end(lane, sink);
}

void Stage::begin(Lane& lane, const TokenBatch& batch) {
  lane.enter(batch, cache_);
  if (context_.is_first()) {
    embedding_.embed(lane.rows(), lane.x());
    lane.rows().show(context_, {-1, Operation::kEmbed}, lane.x(), grid_.config().emb_size);
    return;
  }
  const TraceZone zone(Zone::kHandOver);  // the same place in the stage before owns the same rows
  handed_over_.reserve(lane.x_bytes());
  queue_->wait();  // kernels may still read what came last
  comm::receive(context_.world, {handed_over_.host(), lane.x_bytes()}, context_.world.rank() - grid_.ranks_per_stage(),
                kHandOverTag);
  queue_->copy(lane.x().as<std::byte>(), handed_over_.data(), lane.x_bytes());
}

/// The order lets the messages of one lane travel while another computes: its rows beside the other's attention, its
/// experts' outputs beside the other's experts. Lane by lane in each step, so keys of a sequence are written in order.
/// Messages of lanes before, on their way to the next stage, go on too.
void Stage::pass_layers(std::span<Lane> lanes) {
  std::optional<BetweenRanges> messages_go_on;
  if (context_.world.size() > 1) messages_go_on.emplace([&] { context_.world.progress(); });
  std::optional<plan::StageLayer> before;
  for (const plan::StageLayer layer : weights_.layers.ids()) {
    position().layer = grid_.in_model(context_.stage, layer).value();
    const LayerWeights& weights = weights_.layers[layer];
    for (Lane& lane : lanes) {
      if (before) layer_.join(weights_.layers[*before], *before, lane);
      layer_.attend(weights, layer, lane);
    }
    for (Lane& lane : lanes) layer_.run_experts(weights, lane);
    before = layer;
  }
  for (Lane& lane : lanes) layer_.join(weights_.layers[*before], *before, lane);
  position().layer = Position::kNoLayer;
}

void Stage::end(Lane& lane, const HeadSink& sink) {
  if (context_.is_last())
    head_.project(lane.rows(), lane.x(), sink);
  else
    outbox_.post(context_.host_copy(lane.x().as<const std::byte>(), lane.x_bytes()), lane.x_bytes(),
                 context_.world.rank() + grid_.ranks_per_stage(), kHandOverTag);
}

void Stage::assign_blocks(const Step& step) {
  for (const SequenceId sequence : step.released) cache_.release(sequence);
  for (const BlockGrant& grant : step.grants)
    if (grant.group == grid_.group(context_.me)) cache_.grant(grant.sequence, grant.blocks);
}

}  // namespace moesaic
