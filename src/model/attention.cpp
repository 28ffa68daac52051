#include "model/attention.hpp"

#include "base/trace.hpp"

namespace moesaic {
namespace {

bool replicated(const BatchRows& rows) { return rows.map.ownership() == plan::Ownership::kReplicated; }

backend::AttentionShape shape_of(const StageContext& context) {
  const ModelConfig& c = context.config();
  backend::AttentionShape shape;
  shape.page = {activation_type(context.backend.numerics()), c.key_size};
  shape.num_kv_heads = context.grid.kv_heads(context.grid.shard(context.me)).size();
  shape.q_per_kv = c.q_per_kv();
  shape.multiplier = c.arch.attn_output_multiplier;
  shape.cap = c.arch.attn_logit_cap;
  return shape;
}

}  // namespace

Attention::Attention(StageContext& context, const RopeTable& rope, KvCache& cache)
    : context_(context),
      rope_(rope),
      cache_(cache),
      exchange_(context.group_comm, context.backend, context.queue),
      stage_exchange_(context.stage_comm, context.backend, context.queue),
      tree_(plan::finish_tree(context.grid.attention_leaves())),
      shape_(shape_of(context)),
      gathered_(context.device_buffer()),
      qkv_(context.device_buffer()),
      q_(context.device_buffer()),
      heads_(context.device_buffer()),
      partial_(context.device_buffer()),
      subtrees_(context.device_buffer()) {}

void Attention::forward(const LayerWeights& w, plan::StageLayer layer, const BatchRows& rows, const backend::Buffer& n,
                        backend::Ptr<float> a) {
  const backend::Kernels& k = context_.kernels();
  const std::int64_t num_rows = rows.group.size(), width = context_.config().emb_size;
  count_rows(rows);
  const backend::ConstBytes gathered = gather_rows(rows, n);
  {
    const TraceZone zone(Zone::kAttention);
    project_and_cache(w, layer, rows, gathered);
    const std::int64_t num_leaves = w.attn_out.shape.num_leaves;
    const RowForm heads =
        input_row(context_.backend.numerics(), shape_.num_q_heads() * shape_.page.key_size, num_leaves);
    heads_.reserve_rows(num_rows, heads.row_bytes());
    k.attention(context_.queue, q_.data(), shape_, rows.pages, cache_.page_offset(layer), num_leaves, heads_.data());
    const plan::Layout& layout = context_.grid.layout();
    if (layout.tp == 1 && (layout.dp == 1 || !replicated(rows))) {
      k.gemm(context_.queue, heads_.data(), num_rows, w.attn_out, a, width);
      return;
    }
    partial_.reserve_elems<float>(num_rows * width);
    k.gemm(context_.queue, heads_.data(), num_rows, w.attn_out, partial_.as<float>(), width);
  }
  const TraceZone zone(Zone::kReduceScatter);
  if (replicated(rows))
    reduce_to_all(rows, a);
  else
    reduce_scatter(rows, a);
}

void Attention::count_rows(const BatchRows& rows) {
  const plan::Grid& grid = context_.grid;
  const auto count = [&](Range range) { num_rows_.push_back(static_cast<std::int32_t>(range.size())); };
  num_rows_.clear();
  if (replicated(rows)) {
    for (const plan::StageRank rank : grid.ranks()) count(rows.map.group_rows(grid.group(rank)));
    return;
  }
  for (const plan::ShardId shard : grid.shards()) count(rows.map.rows(grid.member(grid.group(context_.me), shard)));
  num_own_from_each_.assign(num_rows_.size(), static_cast<std::int32_t>(rows.num_own()));
}

backend::ConstBytes Attention::gather_rows(const BatchRows& rows, const backend::Buffer& n) {
  const std::size_t row_bytes = context_.input_row_bytes();
  if (replicated(rows)) return (n.slice() + bytes_of(rows.group.begin, row_bytes)).data;
  if (context_.grid.layout().tp == 1) return n.data();
  const TraceZone zone(Zone::kGatherRows);
  gathered_.reserve_rows(rows.group.size(), row_bytes);
  exchange_.all_gather(n.slice(), gathered_.slice(), num_rows_, row_bytes);
  return gathered_.data();
}

void Attention::project_and_cache(const LayerWeights& w, plan::StageLayer layer, const BatchRows& rows,
                                  backend::ConstBytes gathered) {
  const backend::Kernels& k = context_.kernels();
  backend::Queue& queue = context_.queue;
  const std::int64_t num_rows = rows.group.size(), key_size = shape_.page.key_size;
  const std::int64_t q_width = shape_.num_q_heads() * key_size, kv_width = shape_.num_kv_heads * key_size;
  const std::int64_t stride = q_width + 2 * kv_width;
  const RowForm q = activation_row(context_.backend.numerics(), q_width, shape_.num_q_heads());
  qkv_.reserve_elems<float>(num_rows * stride);
  q_.reserve_rows(num_rows, q.row_bytes());
  const auto qkv = qkv_.as<float>();
  k.gemm(queue, gathered, num_rows, w.qkv, qkv, stride);
  // q and k heads lie side by side and turn together.
  k.rope(queue, qkv, stride, shape_.num_q_heads() + shape_.num_kv_heads, key_size, rows.pages, rope_.cosines(),
         rope_.sines());
  k.write_kv(queue, qkv + q_width, qkv + (q_width + kv_width), stride, shape_, rows.pages, cache_.page_offset(layer));
  k.to_activation(queue, qkv, stride, num_rows, q_width, q.num_parts, q_.data());
}

void Attention::reduce_scatter(const BatchRows& rows, backend::Ptr<float> a) {
  const std::size_t row_bytes = bytes_of<float>(context_.config().emb_size);
  subtrees_.reserve_rows(context_.grid.layout().tp * rows.num_own(), row_bytes);
  exchange_.all_to_all(partial_.slice(), num_rows_, subtrees_.slice(), num_own_from_each_, row_bytes);
  finish_tree(subtrees_.as<float>(), rows.num_own(), a);
}

/// Every rank of the stage gets the partial sums of all groups and finishes all trees itself.
void Attention::reduce_to_all(const BatchRows& rows, backend::Ptr<float> a) {
  const std::int64_t width = context_.config().emb_size;
  const int tp = context_.grid.layout().tp;
  subtrees_.reserve_elems<float>(tp * rows.map.num_rows() * width);
  stage_exchange_.all_gather(partial_.slice(), subtrees_.slice(), num_rows_, bytes_of<float>(width));
  auto subtrees = subtrees_.as<float>();
  for (const plan::GroupId group : context_.grid.groups()) {
    const Range of_group = rows.map.group_rows(group);
    finish_tree(subtrees, of_group.size(), a + of_group.begin * width);
    subtrees = subtrees + tp * of_group.size() * width;
  }
}

/// subtrees: (shards, num_rows, D), overwritten; a: (num_rows, D).
void Attention::finish_tree(backend::Ptr<float> subtrees, std::int64_t num_rows, backend::Ptr<float> a) const {
  context_.kernels().finish_tree(context_.queue, tree_, subtrees, num_rows * context_.config().emb_size, a);
}

}  // namespace moesaic
