#include "plan/grid.hpp"

#include <algorithm>
#include <numeric>

#include "base/error.hpp"
#include "plan/leaf_tree.hpp"

namespace moesaic::plan {

std::string Layout::text() const { return fmt::format("pp={} dp={} tp={} ep={} etp={}", pp, dp, tp, ep, etp); }

int attention_units(const ModelConfig& config) { return static_cast<int>(std::gcd(kNumLeaves, config.num_kv_heads)); }

std::string broken_rule(const ModelConfig& config, const Layout& layout) {
  const auto& [pp, dp, tp, ep, etp] = layout;
  if (pp < 1 || dp < 1 || tp < 1 || ep < 1 || etp < 1) return "every axis is at least 1";
  if (pp > config.num_layers) return fmt::format("pp <= num_layers: pp={} num_layers={}", pp, config.num_layers);
  if (ep > config.num_experts) return fmt::format("ep <= num_experts: ep={} num_experts={}", ep, config.num_experts);
  if (etp > kNumLeaves) return fmt::format("etp <= 8, the leaves of an expert: etp={}", etp);
  if (const int units = attention_units(config); tp > units)
    return fmt::format(
        "a shard boundary must be a kv head's and also a leaf's (a multiple of H*K/8): with {} kv heads tp is at most "
        "{}: tp={}",
        config.num_kv_heads, units, tp);
  if (dp * tp != ep * etp) return fmt::format("dp*tp = ep*etp, the ranks of a stage: {}*{} != {}*{}", dp, tp, ep, etp);
  return "";
}

Grid::Grid(const ModelConfig& config, const Layout& layout)
    : Grid(config, layout, Placement(config.num_experts, layout.ep)) {}

Grid::Grid(const ModelConfig& config, const Layout& layout, Placement placement)
    : config_(config),
      layout_(layout),
      placement_(std::move(placement)),
      attention_leaves_(cut_leaves(layout.tp, attention_units(config))),
      expert_leaves_(cut_leaves(layout.etp, static_cast<int>(kNumLeaves))) {
  MOESAIC_CHECK(broken_rule(config, layout).empty(), "{}", broken_rule(config, layout));
  const std::int64_t layers = placement_.num_layers();
  MOESAIC_CHECK(placement_.num_experts() == config.num_experts && placement_.num_subsets() == layout.ep &&
                    (layers == 1 || layers == config.num_layers),
                "placement of {} experts, {} subsets, {} layers", placement_.num_experts(), placement_.num_subsets(),
                layers);
}

Range Grid::kv_heads(ShardId shard) const {
  const Range leaves = attention_leaves_[shard];
  return {leaves.begin * config_.num_kv_heads / kNumLeaves, leaves.end * config_.num_kv_heads / kNumLeaves};
}

Range Grid::vocabulary(StageRank rank) const {
  const std::int64_t pieces = (config_.vocab_size + kVocabularyPiece_rows - 1) / kVocabularyPiece_rows;
  const Range part = even_part(pieces, ranks_per_stage(), rank.value());
  return {std::min(part.begin * kVocabularyPiece_rows, config_.vocab_size),
          std::min(part.end * kVocabularyPiece_rows, config_.vocab_size)};
}

}  // namespace moesaic::plan
