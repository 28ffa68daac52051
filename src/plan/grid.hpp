#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/range.hpp"
#include "config/tensor_roles.hpp"
#include "plan/placement.hpp"

/// Who owns what. Pure arithmetic over ranks; nothing here knows MPI.
namespace moesaic::plan {

/// How a job's ranks are split: ranks = pp * dp * tp = pp * ep * etp.
struct Layout {
  int pp = 1;   ///< pipeline stages
  int dp = 1;   ///< data-parallel attention groups of a stage
  int tp = 1;   ///< attention shards of a group
  int ep = 1;   ///< expert subsets of a stage
  int etp = 1;  ///< slices of an expert

  int ranks_per_stage() const { return ep * etp; }
  int ranks() const { return pp * ranks_per_stage(); }
  std::string text() const;  ///< "pp=2 dp=1 tp=2 ep=1 etp=2"
  friend bool operator==(const Layout&, const Layout&) = default;
};

/// Largest number of attention shards, which is also the number of units that are cut: a shard boundary must be both a
/// kv head's and a leaf's, so there are gcd(8, G) units of G / units kv heads and 8 / units leaves.
int attention_units(const ModelConfig& config);

/// Empty when the layout works for the model, else the rule that it breaks.
std::string broken_rule(const ModelConfig& config, const Layout& layout);

/// The grid of a valid layout. It alone converts ranks and layers between the world or the model and a stage.
class Grid {
 public:
  /// Every expert where it is at home.
  Grid(const ModelConfig& config, const Layout& layout);
  Grid(const ModelConfig& config, const Layout& layout, Placement placement);

  const Layout& layout() const { return layout_; }
  int ranks_per_stage() const { return layout_.ranks_per_stage(); }
  int num_stages() const { return layout_.pp; }
  IdRange<StageId> stages() const { return ids<StageId>(layout_.pp); }
  StageId last_stage() const { return StageId(layout_.pp - 1); }
  /// The ranks of any stage.
  IdRange<StageRank> ranks() const { return ids<StageRank>(ranks_per_stage()); }
  /// World ranks of a stage.
  Range ranks_of(StageId stage) const {
    const std::int64_t first = in_world(stage, StageRank(0)).value();
    return {first, first + ranks_per_stage()};
  }

  StageId stage(WorldRank rank) const { return StageId(rank.value() / ranks_per_stage()); }
  StageRank in_stage(WorldRank rank) const { return StageRank(rank.value() % ranks_per_stage()); }
  WorldRank in_world(StageId stage, StageRank rank) const {
    return WorldRank(stage.value() * ranks_per_stage() + rank.value());
  }

  /// Decoder layers of a stage.
  IdRange<ModelLayer> layers(StageId stage) const {
    return IdRange<ModelLayer>(even_part(config_.num_layers, layout_.pp, stage.value()));
  }
  ModelLayer in_model(StageId stage, StageLayer layer) const { return layers(stage)[layer.value()]; }

  /// Attention: the group a rank belongs to, its shard, and the shard's kv heads and leaves of the output projection.
  IdRange<GroupId> groups() const { return ids<GroupId>(layout_.dp); }
  IdRange<ShardId> shards() const { return ids<ShardId>(layout_.tp); }
  GroupId group(StageRank rank) const { return GroupId(rank.value() / layout_.tp); }
  ShardId shard(StageRank rank) const { return ShardId(rank.value() % layout_.tp); }
  StageRank member(GroupId group, ShardId shard) const { return StageRank(group.value() * layout_.tp + shard.value()); }
  Range kv_heads(ShardId shard) const;
  const IdVector<ShardId, Range>& attention_leaves() const { return attention_leaves_; }

  /// Experts: the subset a rank belongs to, its slice, and what they hold.
  SubsetId subset(StageRank rank) const { return SubsetId(rank.value() / layout_.etp); }
  SliceId slice(StageRank rank) const { return SliceId(rank.value() % layout_.etp); }
  IdRange<SubsetId> subsets() const { return ids<SubsetId>(layout_.ep); }
  IdRange<SliceId> slices() const { return ids<SliceId>(layout_.etp); }
  StageRank holder(SubsetId subset, SliceId slice) const {
    return StageRank(subset.value() * layout_.etp + slice.value());
  }
  IdRange<ExpertId> experts() const { return ids<ExpertId>(config_.num_experts); }
  const Placement& placement() const { return placement_; }
  /// Where experts are without a placement.
  IdRange<ExpertId> home_experts(SubsetId subset) const {
    return IdRange<ExpertId>(even_part(config_.num_experts, layout_.ep, subset.value()));
  }
  SubsetId home_subset(ExpertId expert) const {
    return SubsetId(even_part_of(config_.num_experts, layout_.ep, expert.value()));
  }
  const IdVector<SliceId, Range>& expert_leaves() const { return expert_leaves_; }

  /// Rows of the embedding table (and columns of the head) of a rank: whole pieces of the store.
  Range vocabulary(StageRank rank) const;

  const ModelConfig& config() const { return config_; }

 private:
  ModelConfig config_;
  Layout layout_;
  Placement placement_;
  IdVector<ShardId, Range> attention_leaves_;
  IdVector<SliceId, Range> expert_leaves_;
};

using moesaic::kVocabularyPiece_rows;

}  // namespace moesaic::plan
