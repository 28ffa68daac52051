#include "model/decoder_layer.hpp"

#include "base/trace.hpp"

namespace moesaic {

DecoderLayer::DecoderLayer(StageContext& context, const RopeTable& rope, KvCache& cache)
    : context_(context),
      attention_(context, rope, cache),
      router_(context.kernels, context.config().emb_size, context.config().num_experts,
              context.config().num_selected_experts),
      experts_(context.grid, context.kernels) {}

void DecoderLayer::attend(const LayerWeights& w, std::int64_t layer, Lane& lane) {
  const BatchRows& rows = lane.rows();
  const std::int64_t width = context_.config().emb_size, size = rows.num_own() * width;
  block_.reserve(static_cast<std::size_t>(size) * sizeof(float));
  normed_.reserve(static_cast<std::size_t>(size) * sizeof(float));
  float *const x = lane.x(), *const n = normed_.as<float>(), *const block = block_.as<float>();
  const auto round = [&] { context_.kernels.to_input(n, rows.num_own(), width, 1, lane.input()); };

  norm(x, w.norm_attn_in, rows);
  round();
  see(layer, Operation::kAttnNorm, n, rows);
  attention_.forward(w, layer, rows, lane.input(), block);
  see(layer, Operation::kAttn, block, rows);
  norm(block, w.norm_attn_out, rows);
  context_.kernels.add(x, n, size, x);
  see(layer, Operation::kAttnResidual, x, rows);

  norm(x, w.norm_moe_in, rows);
  round();
  see(layer, Operation::kMoeNorm, n, rows);
  timed(Zone::kRouter, [&] { router_.route(n, rows.num_own(), w.router, lane.routing()); });
  see_routing(layer, lane);
  lane.dispatcher().start_dispatch(lane.input(), rows.map, lane.routing(), in_model(layer));
}

void DecoderLayer::run_experts(const LayerWeights& w, Lane& lane) {
  moe::run_batches(lane.dispatcher(), expert_batch_, [&] { experts_.run(w.experts, expert_batch_); });
}

void DecoderLayer::join(const LayerWeights& w, std::int64_t layer, Lane& lane) {
  const BatchRows& rows = lane.rows();
  float* const block = block_.as<float>();
  lane.dispatcher().finish_combine(block);
  see(layer, Operation::kMoe, block, rows);
  norm(block, w.norm_moe_out, rows);
  context_.kernels.add(lane.x(), normed_.as<float>(), rows.num_own() * context_.config().emb_size, lane.x());
  see(layer, Operation::kMoeResidual, lane.x(), rows);
}

void DecoderLayer::norm(const float* x, const float* scale, const BatchRows& rows) {
  const TraceZone zone(Zone::kNorm);
  const ModelConfig& config = context_.config();
  context_.kernels.rms_norm(x, scale, rows.num_own(), config.emb_size, config.arch.rms_norm_eps, normed_.as<float>());
}

void DecoderLayer::see(std::int64_t layer, Operation operation, const float* values, const BatchRows& rows) const {
  if (context_.probe)
    rows.show(*context_.probe, context_.me, {in_model(layer), operation}, values, context_.config().emb_size);
}

void DecoderLayer::see_routing(std::int64_t layer, Lane& lane) const {
  if (!context_.probe) return;
  const BatchRows& rows = lane.rows();
  const auto active = static_cast<std::size_t>(context_.config().num_selected_experts);
  const Range shown = rows.map.share(context_.me);
  const auto part = [&](const auto& list) {
    return std::span(list).subspan(static_cast<std::size_t>(shown.begin - rows.own.begin) * active,
                                   static_cast<std::size_t>(shown.size()) * active);
  };
  context_.probe->see_routing(in_model(layer), rows.batch, shown, part(lane.routing().experts),
                              part(lane.routing().gates));
}

std::int32_t DecoderLayer::in_model(std::int64_t layer) const {
  return static_cast<std::int32_t>(context_.grid.layers(context_.stage).begin + layer);
}

}  // namespace moesaic
