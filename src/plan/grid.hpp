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

/// Rank in the world, and rank in its stage: different index spaces, converted by Grid alone.
enum class WorldRank : int {};
enum class StageRank : int {};
constexpr int index(WorldRank rank) { return static_cast<int>(rank); }
constexpr int index(StageRank rank) { return static_cast<int>(rank); }

/// Largest number of attention shards, which is also the number of units that are cut: a shard boundary must be both a
/// kv head's and a leaf's, so there are gcd(8, G) units of G / units kv heads and 8 / units leaves.
int attention_units(const ModelConfig& config);

/// Empty when the layout works for the model, else the rule that it breaks.
std::string broken_rule(const ModelConfig& config, const Layout& layout);

/// The grid of a valid layout.
class Grid {
 public:
  /// Every expert where it is at home.
  Grid(const ModelConfig& config, const Layout& layout);
  Grid(const ModelConfig& config, const Layout& layout, Placement placement);

  const Layout& layout() const { return layout_; }
  int ranks_per_stage() const { return layout_.ranks_per_stage(); }
  int num_stages() const { return layout_.pp; }

  int stage(WorldRank rank) const { return index(rank) / ranks_per_stage(); }
  StageRank in_stage(WorldRank rank) const { return StageRank{index(rank) % ranks_per_stage()}; }
  WorldRank in_world(int stage, StageRank rank) const { return WorldRank{stage * ranks_per_stage() + index(rank)}; }

  /// Decoder layers of a stage.
  Range layers(int stage) const { return even_part(config_.num_layers, layout_.pp, stage); }

  /// Attention: the group a rank belongs to, its shard, and the shard's kv heads and leaves of the output projection.
  int group(StageRank rank) const { return index(rank) / layout_.tp; }
  int shard(StageRank rank) const { return index(rank) % layout_.tp; }
  StageRank member(int group, int shard) const { return StageRank{group * layout_.tp + shard}; }
  Range kv_heads(int shard) const;
  const std::vector<Range>& attention_leaves() const { return attention_leaves_; }  ///< of each shard

  /// Experts: the subset a rank belongs to, its slice, and what they hold.
  int subset(StageRank rank) const { return index(rank) / layout_.etp; }
  int slice(StageRank rank) const { return index(rank) % layout_.etp; }
  StageRank holder(int subset, int slice) const { return StageRank{subset * layout_.etp + slice}; }
  const Placement& placement() const { return placement_; }
  /// Where experts are without a placement.
  Range home_experts(int subset) const { return even_part(config_.num_experts, layout_.ep, subset); }
  int home_subset(std::int64_t expert) const {
    return static_cast<int>(even_part_of(config_.num_experts, layout_.ep, expert));
  }
  const std::vector<Range>& expert_leaves() const { return expert_leaves_; }  ///< of each slice

  /// Rows of the embedding table (and columns of the head) of a rank: whole pieces of the store.
  Range vocabulary(StageRank rank) const;

  const ModelConfig& config() const { return config_; }

 private:
  ModelConfig config_;
  Layout layout_;
  Placement placement_;
  std::vector<Range> attention_leaves_, expert_leaves_;
};

using moesaic::kVocabularyPiece_rows;

}  // namespace moesaic::plan
