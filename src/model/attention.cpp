#include "model/attention.hpp"

#include <array>
#include <cstring>

#include "base/parallel.hpp"
#include "base/trace.hpp"

namespace moesaic {
namespace {

bool replicated(const BatchRows& rows) { return rows.map.ownership() == plan::Ownership::kReplicated; }

}  // namespace

Attention::Attention(StageContext& context, const RopeTable& rope, KvCache& cache)
    : context_(context),
      rope_(rope),
      cache_(cache),
      exchange_(context.group_comm),
      stage_exchange_(context.stage_comm),
      merges_(plan::finish_tree(context.grid.attention_leaves())) {
  const ModelConfig& c = context.config();
  shape_.page = {activation_type(context.kernels.numerics), c.key_size};
  shape_.num_kv_heads = context.grid.kv_heads(context.grid.shard(context.me)).size();
  shape_.q_per_kv = c.q_per_kv();
  shape_.multiplier = c.arch.attn_output_multiplier;
  shape_.cap = c.arch.attn_logit_cap;
}

void Attention::forward(const LayerWeights& w, std::int64_t layer, const BatchRows& rows, const std::byte* n,
                        float* a) {
  const ops::Kernels& k = context_.kernels;
  const std::int64_t num_rows = rows.group.size(), width = context_.config().emb_size;
  const std::int64_t heads_width = shape_.num_q_heads() * shape_.page.key_size;
  count_rows(rows);
  const std::byte* gathered = gather_rows(rows, n);
  {
    const TraceZone zone(Zone::kAttention);
    project_and_cache(w, layer, rows, gathered);
    const std::int64_t num_leaves = w.attn_out.shape.num_leaves;
    heads_.reserve(static_cast<std::size_t>(num_rows) * GemmInput{k.numerics, heads_width, num_leaves}.row_bytes());
    k.attention(q_.data(), heads_width, num_rows, shape_, rows.contexts.data(), cache_.page_offset(layer), num_leaves,
                heads_.data());
    const plan::Layout& layout = context_.grid.layout();
    if (layout.tp == 1 && (layout.dp == 1 || !replicated(rows))) {
      k.gemm(heads_.data(), num_rows, w.attn_out, a, width);
      return;
    }
    partial_.reserve(static_cast<std::size_t>(num_rows * width) * sizeof(float));
    k.gemm(heads_.data(), num_rows, w.attn_out, partial_.as<float>(), width);
  }
  const TraceZone zone(Zone::kReduceScatter);
  if (replicated(rows))
    reduce_to_all(rows, a);
  else
    reduce_scatter(rows, a);
}

void Attention::count_rows(const BatchRows& rows) {
  if (replicated(rows)) {
    num_rows_by_shard_.clear();
    for (int rank = 0; rank < context_.grid.ranks_per_stage(); ++rank)
      num_rows_by_shard_.push_back(
          static_cast<std::int32_t>(rows.map.group_rows(context_.grid.group(plan::StageRank{rank})).size()));
    return;
  }
  const int num_shards = context_.grid.layout().tp, group = context_.grid.group(context_.me);
  num_rows_by_shard_.clear();
  for (int shard = 0; shard < num_shards; ++shard)
    num_rows_by_shard_.push_back(static_cast<std::int32_t>(rows.map.rows(context_.grid.member(group, shard)).size()));
  num_own_from_each_.assign(static_cast<std::size_t>(num_shards), static_cast<std::int32_t>(rows.num_own()));
}

const std::byte* Attention::gather_rows(const BatchRows& rows, const std::byte* n) {
  const std::size_t row_bytes = context_.input_row_bytes();
  if (replicated(rows)) return n + static_cast<std::size_t>(rows.group.begin) * row_bytes;
  if (context_.grid.layout().tp == 1) return n;
  const TraceZone zone(Zone::kGatherRows);
  gathered_.reserve(static_cast<std::size_t>(rows.group.size()) * row_bytes);
  exchange_.all_gather(n, gathered_.data(), num_rows_by_shard_, row_bytes);
  return gathered_.data();
}

void Attention::project_and_cache(const LayerWeights& w, std::int64_t layer, const BatchRows& rows,
                                  const std::byte* gathered) {
  const ops::Kernels& k = context_.kernels;
  const std::int64_t num_rows = rows.group.size(), key_size = shape_.page.key_size;
  const std::int64_t q_width = shape_.num_q_heads() * key_size, kv_width = shape_.num_kv_heads * key_size;
  const std::int64_t stride = q_width + 2 * kv_width;
  qkv_.reserve(static_cast<std::size_t>(num_rows * stride) * sizeof(float));
  float* qkv = qkv_.as<float>();
  k.gemm(gathered, num_rows, w.qkv, qkv, stride);
  // q and k heads lie side by side and turn together.
  k.rope(qkv, stride, num_rows, shape_.num_q_heads() + shape_.num_kv_heads, key_size, rows.contexts.data(),
         rope_.cosines.data(), rope_.sines.data());
  k.write_kv(qkv + q_width, qkv + q_width + kv_width, stride, num_rows, shape_, rows.contexts.data(),
             cache_.page_offset(layer));
  q_.reserve(static_cast<std::size_t>(num_rows * q_width) * context_.act_bytes());
  constexpr std::int64_t kGrain_rows = 16;
  parallel_for(num_rows, kGrain_rows, [&](std::int64_t row) {
    k.to_activation(qkv + row * stride, q_width,
                    q_.data() + static_cast<std::size_t>(row * q_width) * context_.act_bytes());
  });
}

void Attention::reduce_scatter(const BatchRows& rows, float* a) {
  const std::size_t row_bytes = static_cast<std::size_t>(context_.config().emb_size) * sizeof(float);
  subtrees_.reserve(static_cast<std::size_t>(context_.grid.layout().tp * rows.num_own()) * row_bytes);
  exchange_.all_to_all(partial_.data(), num_rows_by_shard_, subtrees_.data(), num_own_from_each_, row_bytes);
  finish_tree(subtrees_.as<float>(), rows.num_own(), a);
}

/// Every rank of the stage gets the partial sums of all groups and finishes all trees itself.
void Attention::reduce_to_all(const BatchRows& rows, float* a) {
  const std::int64_t width = context_.config().emb_size;
  const auto& [pp, dp, tp, ep, etp] = context_.grid.layout();
  subtrees_.reserve(static_cast<std::size_t>(tp * rows.map.num_rows() * width) * sizeof(float));
  stage_exchange_.all_gather(partial_.data(), subtrees_.data(), num_rows_by_shard_,
                             static_cast<std::size_t>(width) * sizeof(float));
  float* subtrees = subtrees_.as<float>();
  for (int group = 0; group < dp; ++group) {
    const Range of_group = rows.map.group_rows(group);
    finish_tree(subtrees, of_group.size(), a + of_group.begin * width);
    subtrees += tp * of_group.size() * width;
  }
}

/// subtrees: (shards, num_rows, D), overwritten; a: (num_rows, D).
void Attention::finish_tree(float* subtrees, std::int64_t num_rows, float* a) const {
  const std::int64_t size = num_rows * context_.config().emb_size;
  if (merges_.empty()) {
    std::memcpy(a, subtrees, static_cast<std::size_t>(size) * sizeof(float));
    return;
  }
  std::array<const float*, kNumLeaves> parts;
  const auto subtree = [&](int k) { return subtrees + k * size; };
  for (int shard = 0; shard < context_.grid.layout().tp; ++shard)
    parts[static_cast<std::size_t>(shard)] = subtree(shard);
  plan::add_up(merges_, parts, a, subtree,
               [&](const float* x, const float* y, float* sum) { context_.kernels.add(x, y, size, sum); });
}

}  // namespace moesaic
