#pragma once

#include "model/kv_cache.hpp"
#include "model/rope.hpp"
#include "model/stage_context.hpp"
#include "model/weights.hpp"

namespace moesaic {

/// Sharded attention of one attention group. Shapes: T own rows, S group rows, h and g q and kv heads of this shard:
/// (T,D) -> gather (S,D) -> q,k,v (S,(h+2g)K) -> rope, cache -> attention (S,hK) -> partial sums (S,D) -> (T,D).
/// Where every rank owns all rows there is nothing to gather, and the partial sums go to all ranks of the stage.
class Attention {
 public:
  Attention(StageContext& context, const RopeTable& rope, KvCache& cache);

  /// n: Input (T, D), normalised; a: fp32 (T, D), complete output projection.
  void forward(const LayerWeights& w, plan::StageLayer layer, const BatchRows& rows, const backend::Buffer& n,
               backend::Ptr<float> a);

 private:
  backend::ConstBytes gather_rows(const BatchRows& rows, const backend::Buffer& n);
  void project_and_cache(const LayerWeights& w, plan::StageLayer layer, const BatchRows& rows,
                         backend::ConstBytes gathered);
  void reduce_scatter(const BatchRows& rows, backend::Ptr<float> a);
  void reduce_to_all(const BatchRows& rows, backend::Ptr<float> a);
  void finish_tree(backend::Ptr<float> subtrees, std::int64_t num_rows, backend::Ptr<float> a) const;
  void count_rows(const BatchRows& rows);

  StageContext& context_;
  const RopeTable& rope_;
  KvCache& cache_;
  comm::RowExchange exchange_, stage_exchange_;
  const backend::SumTree tree_;  // that finishes the output projection from the shards' subtrees
  backend::AttentionShape shape_;
  backend::Buffer gathered_;                     // Input (S, D)
  backend::Buffer qkv_;                          // fp32 (S, (h+2g)K)
  backend::Buffer q_;                            // Act (S, hK)
  backend::Buffer heads_;                        // Input (S, hK)
  backend::Buffer partial_;                      // fp32 (S, D): this shard's subtree of the output projection
  backend::Buffer subtrees_;                     // fp32 (shards, T, D)
  std::vector<std::int32_t> num_rows_;           // group rows of each rank of the stage, or own rows of each shard
  std::vector<std::int32_t> num_own_from_each_;  // own rows, once for each shard
};

}  // namespace moesaic
