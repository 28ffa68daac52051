#pragma once

#include "base/aligned_buffer.hpp"
#include "model/kv_cache.hpp"
#include "model/rope.hpp"
#include "model/stage_context.hpp"
#include "model/weights.hpp"
#include "plan/leaf_tree.hpp"

namespace moesaic {

/// Sharded attention of one attention group. Shapes: T own rows, S group rows, h and g q and kv heads of this shard:
/// (T,D) -> gather (S,D) -> q,k,v (S,(h+2g)K) -> rope, cache -> attention (S,hK) -> partial sums (S,D) -> (T,D).
/// Where every rank owns all rows there is nothing to gather, and the partial sums go to all ranks of the stage.
class Attention {
 public:
  Attention(StageContext& context, const RopeTable& rope, KvCache& cache);

  /// n: Input (T, D), normalised; a: fp32 (T, D), complete output projection. layer: index in the stage.
  void forward(const LayerWeights& w, std::int64_t layer, const BatchRows& rows, const std::byte* n, float* a);

 private:
  const std::byte* gather_rows(const BatchRows& rows, const std::byte* n);
  void project_and_cache(const LayerWeights& w, std::int64_t layer, const BatchRows& rows, const std::byte* gathered);
  void reduce_scatter(const BatchRows& rows, float* a);
  void reduce_to_all(const BatchRows& rows, float* a);
  void finish_tree(float* subtrees, std::int64_t num_rows, float* a) const;
  void count_rows(const BatchRows& rows);

  StageContext& context_;
  const RopeTable& rope_;
  KvCache& cache_;
  comm::RowExchange exchange_, stage_exchange_;
  const std::vector<plan::Merge> merges_;  // that finish the output projection's tree from the shards' subtrees
  ops::AttentionShape shape_;
  AlignedBuffer gathered_;  // Input (S, D)
  AlignedBuffer qkv_;       // fp32 (S, (h+2g)K)
  AlignedBuffer q_;         // Act (S, hK)
  AlignedBuffer heads_;     // Input (S, hK)
  AlignedBuffer partial_;   // fp32 (S, D): this shard's subtree of the output projection
  AlignedBuffer subtrees_;  // fp32 (shards, T, D)
  std::vector<std::int32_t> num_rows_by_shard_, num_own_from_each_;
};

}  // namespace moesaic
