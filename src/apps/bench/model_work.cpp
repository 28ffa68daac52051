#include "apps/bench/model_work.hpp"

#include <algorithm>
#include <numeric>

#include "config/tensor_roles.hpp"

namespace moesaic::apps::bench {
namespace {

/// Multiply-adds of one row in one layer.
double layer_multiply_adds(const ModelConfig& c) {
  return static_cast<double>(matrix_elems(c, PerUnit::kLayer) +
                             c.num_selected_experts * matrix_elems(c, PerUnit::kExpert));
}

}  // namespace

double ModelWork::total_multiply_adds() const {
  return std::accumulate(multiply_adds.begin(), multiply_adds.end(), 0.0);
}
double ModelWork::total_weight_bytes() const { return std::accumulate(weight_bytes.begin(), weight_bytes.end(), 0.0); }

double ModelWork::least_seconds(double peak_gmacs, double read_gbps) const {
  double seconds = 0;
  for (std::size_t i = 0; i < multiply_adds.size(); ++i)
    seconds += std::max(multiply_adds[i] / peak_gmacs, weight_bytes[i] / read_gbps) / 1e9;
  return seconds;
}

void WorkCounter::see_routing(ModelLayer layer, const TokenBatch& batch, Range, std::span<const std::int32_t> experts,
                              std::span<const float>) {
  const ModelConfig& c = grid_.config();
  if (layer == grid_.layers(grid_.stage(rank_))[0]) {
    const plan::GroupId group = grid_.group(grid_.in_stage(rank_));
    batches_.push_back({batch.num_rows(), std::ssize(batch.logit_rows), batch.num_group_rows[group] > 0});
    chosen_.resize(batches_.size() * static_cast<std::size_t>(c.num_layers * c.num_experts));
    under_way_[&batch] = batches_.size() - 1;
  }
  const std::size_t first = (under_way_.at(&batch) * static_cast<std::size_t>(c.num_layers) + layer.index()) *
                            static_cast<std::size_t>(c.num_experts);
  for (const std::int32_t expert : experts) chosen_[first + static_cast<std::size_t>(expert)] = 1;
}

double WorkCounter::weight_bytes(const ModelWeights& weights, const Batch& batch, const std::uint8_t* chosen) const {
  const ModelConfig& c = grid_.config();
  const plan::StageId stage = grid_.stage(rank_);
  const plan::Placement& placement = grid_.placement();
  const plan::SubsetId subset = grid_.subset(grid_.in_stage(rank_));
  const auto bytes_of = [&](const backend::Matrix& w) { return static_cast<double>(packer_.size_bytes(w.shape)); };
  double bytes = 0;
  for (const plan::StageLayer here : weights.layers.ids()) {
    const LayerWeights& w = weights.layers[here];
    if (batch.group_has_rows) bytes += bytes_of(w.qkv) + bytes_of(w.attn_out);
    const ModelLayer layer = grid_.in_model(stage, here);
    const auto& held = placement.experts(layer, subset);
    for (std::size_t e = 0; e < held.size(); ++e) {
      // Of an expert with copies, one must be read at least: the first.
      const bool first = placement.subset_of_slot(placement.slots_of(layer, held[e])[0]) == subset;
      if (first && chosen[layer.value() * c.num_experts + held[e].value()])
        bytes += bytes_of(w.experts.gate[e]) + bytes_of(w.experts.up[e]) + bytes_of(w.experts.down[e]);
    }
  }
  if (stage == grid_.last_stage() && batch.num_logit_rows > 0) bytes += bytes_of(weights.embedding);
  return bytes;
}

ModelWork WorkCounter::work(const comm::Communicator& world, const ModelWeights& weights) const {
  const ModelConfig& c = grid_.config();
  std::vector<std::uint8_t> chosen = chosen_;
  world.bitwise_or(chosen);
  ModelWork work;
  for (std::size_t i = 0; i < batches_.size(); ++i) {
    const Batch& batch = batches_[i];
    work.weight_bytes.push_back(
        weight_bytes(weights, batch, chosen.data() + i * static_cast<std::size_t>(c.num_layers * c.num_experts)));
    work.multiply_adds.push_back(static_cast<double>(batch.num_rows * c.num_layers) * layer_multiply_adds(c) +
                                 static_cast<double>(batch.num_logit_rows * c.emb_size * c.vocab_size));
  }
  world.reduce(work.weight_bytes, MPI_SUM);
  return work;
}

}  // namespace moesaic::apps::bench
