#include "model/decoder_layer.hpp"

#include "base/trace.hpp"

namespace moesaic {

DecoderLayer::DecoderLayer(StageContext& context, const RopeTable& rope, KvCache& cache)
    : context_(context),
      attention_(context, rope, cache),
      experts_(context.grid, context.backend, context.queue),
      expert_batch_(context.backend),
      normed_(context.device_buffer()),
      block_(context.device_buffer()) {}

void DecoderLayer::attend(const LayerWeights& w, plan::StageLayer layer, Lane& lane) {
  const BatchRows& rows = lane.rows();
  block_.reserve(lane.x_bytes());
  normed_.reserve(lane.x_bytes());
  const auto x = lane.x(), n = normed_.as<float>(), block = block_.as<float>();

  norm(x, w.norm_attn_in, rows);
  to_input(lane);
  see(layer, Operation::kAttnNorm, n, rows);
  attention_.forward(w, layer, rows, lane.input(), block);
  see(layer, Operation::kAttn, block, rows);
  norm(block, w.norm_attn_out, rows);
  add(x, n, rows);
  see(layer, Operation::kAttnResidual, x, rows);

  norm(x, w.norm_moe_in, rows);
  to_input(lane);
  see(layer, Operation::kMoeNorm, n, rows);
  timed(Zone::kRouter, [&] { route(w, lane); });
  see_routing(layer, lane);
  lane.dispatcher().start_dispatch(lane.input().data(), rows.map, lane.routing(), in_model(layer));
}

void DecoderLayer::run_experts(const LayerWeights& w, Lane& lane) {
  moe::run_batches(lane.dispatcher(), expert_batch_, [&] { experts_.run(w.experts, expert_batch_); });
}

void DecoderLayer::join(const LayerWeights& w, plan::StageLayer layer, Lane& lane) {
  const BatchRows& rows = lane.rows();
  const auto block = block_.as<float>();
  lane.dispatcher().finish_combine(block);
  see(layer, Operation::kMoe, block, rows);
  norm(block, w.norm_moe_out, rows);
  add(lane.x(), normed_.as<float>(), rows);
  see(layer, Operation::kMoeResidual, lane.x(), rows);
}

/// Writes the normed rows into normed_.
void DecoderLayer::norm(backend::Ptr<const float> x, backend::Ptr<const float> scale, const BatchRows& rows) {
  const TraceZone zone(Zone::kNorm);
  const ModelConfig& config = context_.config();
  context_.kernels().rms_norm(context_.queue, x, scale, rows.num_own(), config.emb_size, config.arch.rms_norm_eps,
                              normed_.as<float>());
}

void DecoderLayer::add(backend::Ptr<float> x, backend::Ptr<const float> y, const BatchRows& rows) const {
  context_.kernels().add(context_.queue, x, y, rows.num_own() * context_.config().emb_size, x);
}

/// normed_ as attention and experts take it.
void DecoderLayer::to_input(Lane& lane) const {
  context_.kernels().to_input(context_.queue, normed_.as<float>(), lane.rows().num_own(), context_.config().emb_size, 1,
                              lane.input().data());
}

/// The router reads normed_ unrounded. Where rows go is planned on the host, so it waits for the choice.
void DecoderLayer::route(const LayerWeights& w, Lane& lane) const {
  const ModelConfig& c = context_.config();
  const std::int64_t num_rows = lane.rows().num_own();
  lane.routing().resize(num_rows * c.num_selected_experts);
  context_.kernels().route(context_.queue, normed_.as<float>(), num_rows,
                           {c.emb_size, c.num_experts, c.num_selected_experts}, w.router, lane.routing().rows());
  context_.queue.wait();
}

void DecoderLayer::see(plan::StageLayer layer, Operation operation, backend::Ptr<const float> values,
                       const BatchRows& rows) const {
  rows.show(context_, {in_model(layer).value(), operation}, values, context_.config().emb_size);
}

void DecoderLayer::see_routing(plan::StageLayer layer, Lane& lane) const {
  if (!context_.probe) return;
  const BatchRows& rows = lane.rows();
  const auto active = static_cast<std::size_t>(context_.config().num_selected_experts);
  const Range shown = rows.map.share(context_.me);
  const auto part = [&](const auto& list) {
    return list.subspan(static_cast<std::size_t>(shown.begin - rows.own.begin) * active,
                        static_cast<std::size_t>(shown.size()) * active);
  };
  context_.probe->see_routing(in_model(layer), rows.batch, shown, part(lane.routing().experts()),
                              part(lane.routing().gates()));
}

}  // namespace moesaic
