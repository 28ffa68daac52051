#include "plan/footprint.hpp"

#include <algorithm>

#include "config/kv_page.hpp"
#include "plan/expected_routing.hpp"

namespace moesaic::plan {
namespace {

std::int64_t activation_bytes(Numerics numerics) {
  return static_cast<std::int64_t>(size_bytes(activation_type(numerics)));
}
std::int64_t input_bytes(Numerics numerics, std::int64_t width, std::int64_t leaves = 1) {
  return static_cast<std::int64_t>(input_row(numerics, width, leaves).row_bytes());
}

std::int64_t layer_weight_bytes(const Grid& grid, StageRank rank, ModelLayer layer, WeightFormat format) {
  const ModelConfig& c = grid.config();
  const std::int64_t attn_leaves = grid.attention_leaves()[grid.shard(rank)].size();
  const std::int64_t expert_leaves = grid.expert_leaves()[grid.slice(rank)].size();
  const std::int64_t num_experts = std::ssize(grid.placement().experts(layer, grid.subset(rank)));
  std::int64_t bytes = 0;
  for (const TensorRow& row : kTensorRows) {
    if (row.per == PerUnit::kModel || !row.present(c.arch)) continue;
    const bool of_experts = row.per == PerUnit::kExpert;
    const TensorShare share = share_of(c, row, of_experts ? expert_leaves : attn_leaves);
    bytes += (of_experts ? num_experts : 1) *
             (row.is_matrix() ? matrix_bytes(format, share.leaves, share.leaf_inputs, share.columns)
                              : share.num_elems() * static_cast<std::int64_t>(sizeof(float)));
  }
  return bytes;
}

/// Bytes that stage rank `from` sends to `to` in one layer, for a token whose row is owned by each rank with the same
/// probability.
double layer_traffic(const Grid& grid, const ExpectedRouting& routing, StageRank from, StageRank to,
                     const NumericSetting& numeric) {
  const ModelConfig& c = grid.config();
  const double width = static_cast<double>(c.emb_size);
  const double owned = 1.0 / grid.ranks_per_stage();
  const auto bytes_of = [](const RowForm& row) { return static_cast<double>(row.row_bytes()); };
  double bytes = 0;
  if (grid.group(from) == grid.group(to))
    bytes += owned * (bytes_of(numeric.row(c.emb_size)) + width * sizeof(float));  // gather, reduce-scatter
  bytes += owned * routing.reaches(from, grid.subset(to)) * bytes_of(numeric.expert_row(c.emb_size));  // dispatch
  const double terms = routing.terms(to, grid.subset(from));
  bytes += owned * terms *
           (grid.layout().etp == 1 ? bytes_of(activation_row(numeric.numerics, c.emb_size)) : width * sizeof(float));
  bytes += owned * static_cast<double>(c.num_selected_experts * static_cast<std::int64_t>(sizeof(std::int32_t)));
  return bytes;
}

}  // namespace

std::int64_t matrix_bytes(WeightFormat format, std::int64_t leaves, std::int64_t leaf_size, std::int64_t outputs) {
  const auto scale_bytes = static_cast<std::int64_t>(format == WeightFormat::kInt8 ? sizeof(float) : sizeof(Bf16));
  const std::int64_t weights = format == WeightFormat::kInt4
                                   ? (leaf_size + 1) / 2
                                   : leaf_size * static_cast<std::int64_t>(size_bytes(matrix_type(format)));
  const std::int64_t groups = format == WeightFormat::kInt8   ? 1
                              : format == WeightFormat::kInt4 ? int4_groups(leaf_size)
                                                              : 0;
  return leaves * outputs * (weights + groups * scale_bytes);
}

std::int64_t model_weight_bytes(const ModelConfig& config, const Arithmetic& arithmetic) {
  return footprint(Grid(config, Layout{}), WorldRank{0}, arithmetic, {}).weight_bytes;
}

Footprint footprint(const Grid& grid, WorldRank rank, const Arithmetic& arithmetic, const Workload& workload) {
  const WeightFormat format = arithmetic.format;
  const Numerics numerics = arithmetic.numerics;
  const ModelConfig& c = grid.config();
  const StageRank local = grid.in_stage(rank);
  const StageId stage = grid.stage(rank);
  const std::int64_t num_layers = grid.layers(stage).size();
  const std::int64_t act = activation_bytes(numerics);
  constexpr auto kFloat = static_cast<std::int64_t>(sizeof(float));
  Footprint f;

  for (const ModelLayer layer : grid.layers(stage)) f.weight_bytes += layer_weight_bytes(grid, local, layer, format);
  const bool first = stage == StageId(0), last = stage == grid.last_stage();
  if (first || last) f.weight_bytes += grid.vocabulary(local).size() * c.emb_size * act;
  if (last) f.weight_bytes += c.emb_size * kFloat;

  const std::int64_t context = workload.context > 0 ? workload.context : c.sequence_len;
  const std::int64_t blocks_each = (context + kBlockKeys - 1) / kBlockKeys;
  const KvPageShape page{activation_type(numerics), c.key_size};
  const std::int64_t sequences = even_part(workload.num_sequences, grid.layout().dp, grid.group(local).value()).size();
  const std::int64_t heads = grid.kv_heads(grid.shard(local)).size();
  const std::int64_t blocks = workload.kv_blocks > 0 ? workload.kv_blocks : sequences * blocks_each;
  f.kv_bytes = blocks * num_layers * heads * static_cast<std::int64_t>(page.page_bytes());

  // Rows of a micro-batch: all of the group's in attention, the rank's own elsewhere, and on average its experts'
  // share.
  const std::int64_t groups_with_rows = std::min<std::int64_t>(grid.layout().dp, workload.num_sequences);
  const std::int64_t group = (workload.batch_rows + groups_with_rows - 1) / groups_with_rows;
  const std::int64_t own =
      workload.replicated ? workload.batch_rows : (group + grid.layout().tp - 1) / grid.layout().tp;
  const std::int64_t terms = (workload.batch_rows * c.num_selected_experts + grid.layout().ep - 1) / grid.layout().ep;
  const std::int64_t slice = c.ffn_size / kNumLeaves * grid.expert_leaves()[grid.slice(local)].size();
  // Quantised results are fp32 before they are that.
  const std::int64_t unrounded = input_row(numerics, 0).quantised() ? kFloat : 0;
  const std::int64_t input = input_bytes(numerics, c.emb_size), q_width = heads * c.q_per_kv() * c.key_size;
  const std::int64_t heads_out = input_bytes(numerics, q_width, kNumLeaves) + q_width * unrounded;
  const std::int64_t hidden = input_bytes(numerics, slice, kNumLeaves) + slice * unrounded;
  const std::int64_t attention =
      group * (input + c.emb_size * kFloat + (q_width + 2 * heads * c.key_size) * kFloat + q_width * act + heads_out);
  // Own rows as they are sent, everybody's as they come, own ones rounded; by term the input, the output, its sum and
  // the piece that goes back; the pieces of own rows.
  const std::int64_t copies =
      std::min<std::int64_t>(grid.ranks_per_stage() - 1, c.num_selected_experts * grid.layout().etp);
  const auto expert_row = static_cast<std::int64_t>(arithmetic.numeric().expert_row(c.emb_size).row_bytes());
  const std::int64_t messages =
      grid.ranks_per_stage() == 1 || workload.replicated ? 0 : (own * copies + workload.batch_rows) * expert_row;
  const std::int64_t rounded = arithmetic.numeric().rounds_expert_rows() ? own * expert_row : 0;
  const std::int64_t experts = messages + rounded + terms * (input + c.emb_size * 3 * kFloat + hidden) +
                               own * c.num_selected_experts * grid.layout().etp * c.emb_size * kFloat;
  f.buffer_bytes = attention + experts + own * c.emb_size * 4 * kFloat + c.sequence_len * c.key_size * kFloat;
  if (last) f.buffer_bytes += workload.num_sequences * grid.vocabulary(local).size() * kFloat;
  return f;
}

std::vector<Link> links(const Grid& grid, const NumericSetting& numeric, const RankPlacement& ranks) {
  const ModelConfig& c = grid.config();
  const double act = static_cast<double>(activation_bytes(numeric.numerics));
  const double width = static_cast<double>(c.emb_size);
  const int stage_ranks = grid.ranks_per_stage();
  std::vector<Link> all;
  for (const StageId stage : grid.stages()) {
    const bool first = stage == StageId(0), last = stage == grid.last_stage();
    const ExpectedRouting routing(grid, ranks.nodes(grid, stage));
    for (const StageRank from : grid.ranks()) {
      for (const StageRank to : grid.ranks()) {
        double bytes = 0;
        const double vocabulary_share =
            static_cast<double>(grid.vocabulary(from).size()) / static_cast<double>(c.vocab_size);
        if (from != to) {
          bytes = static_cast<double>(grid.layers(stage).size()) * layer_traffic(grid, routing, from, to, numeric);
          if (first) bytes += vocabulary_share / stage_ranks * width * act;
          if (last) bytes += width * act / stage_ranks;
        }
        // Logits are gathered where tokens are drawn, on world rank 0.
        if (from != to && to == StageRank(0) && first && last)
          bytes += vocabulary_share * static_cast<double>(c.vocab_size) * sizeof(float);
        if (bytes > 0) all.push_back({grid.in_world(stage, from), grid.in_world(stage, to), bytes});
      }
      if (!last)
        all.push_back(
            {grid.in_world(stage, from), grid.in_world(stage.next(), from), width * sizeof(float) / stage_ranks});
      else if (!first)
        all.push_back({grid.in_world(stage, from), WorldRank{0},
                       static_cast<double>(grid.vocabulary(from).size()) * sizeof(float)});
    }
  }
  return all;
}

}  // namespace moesaic::plan
