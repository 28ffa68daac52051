#include "model/decoder_layer.hpp"

#include "base/trace.hpp"

namespace moesaic {

DecoderLayer::DecoderLayer(StageContext& context, const RopeTable& rope, KvCache& cache)
    : context_(context),
      attention_(context, rope, cache),
      router_(context.kernels, context.config().emb_size, context.config().num_experts,
              context.config().num_selected_experts),
      experts_(context.grid, context.kernels) {}

void DecoderLayer::forward(const LayerWeights& w, std::int64_t layer, const BatchRows& rows, float* x) {
  const ModelConfig& config = context_.config();
  const std::int64_t width = config.emb_size, size = rows.num_own() * width;
  const auto elems = static_cast<std::size_t>(size);
  const auto model_layer = static_cast<std::int32_t>(context_.grid.layers(context_.stage).begin + layer);
  normed_.reserve(elems * sizeof(float));
  input_.reserve(static_cast<std::size_t>(rows.num_own()) * context_.input_row_bytes());
  block_.reserve(elems * sizeof(float));
  float* const n = normed_.as<float>();
  float* const block = block_.as<float>();

  const auto norm = [&](const float* in, const float* scale) {
    const TraceZone zone(Zone::kNorm);
    context_.kernels.rms_norm(in, scale, rows.num_own(), width, config.rms_norm_eps, n);
  };
  const auto round = [&] { context_.kernels.to_input(n, rows.num_own(), width, 1, input_.data()); };
  const auto add_residual = [&] { context_.kernels.add(n, size, x); };
  const auto see = [&](Operation operation, const float* values) {
    if (context_.probe) rows.show(*context_.probe, context_.me, {model_layer, operation}, values, width);
  };

  norm(x, w.norm_attn_in);
  round();
  see(Operation::kAttnNorm, n);
  attention_.forward(w, layer, rows, input_.data(), block);
  see(Operation::kAttn, block);
  norm(block, w.norm_attn_out);
  add_residual();
  see(Operation::kAttnResidual, x);

  norm(x, w.norm_moe_in);
  round();
  see(Operation::kMoeNorm, n);
  timed(Zone::kRouter, [&] { router_.route(n, rows.num_own(), w.router, routing_); });
  see_routing(model_layer, rows);
  moe::pass_through(
      dispatcher_for(rows.dispatch), input_.data(), rows.map, routing_, model_layer, expert_batch_,
      [&] { experts_.run(w.experts, expert_batch_); }, block);
  see(Operation::kMoe, block);
  norm(block, w.norm_moe_out);
  add_residual();
  see(Operation::kMoeResidual, x);
}

void DecoderLayer::see_routing(std::int32_t layer, const BatchRows& rows) const {
  if (!context_.probe) return;
  const auto active = static_cast<std::size_t>(context_.config().num_selected_experts);
  const Range shown = rows.map.share(context_.me);
  const auto part = [&](const auto& list) {
    return std::span(list).subspan(static_cast<std::size_t>(shown.begin - rows.own.begin) * active,
                                   static_cast<std::size_t>(shown.size()) * active);
  };
  context_.probe->see_routing(layer, rows.batch, shown, part(routing_.experts), part(routing_.gates));
}

moe::Dispatcher& DecoderLayer::dispatcher_for(plan::DispatchAlgorithm algorithm) {
  auto& dispatcher = dispatchers_[algorithm];
  if (!dispatcher)
    dispatcher = moe::make_dispatcher(algorithm, context_.grid, context_.dispatch.nodes(), context_.stage_comm,
                                      context_.kernels);
  return *dispatcher;
}

}  // namespace moesaic
