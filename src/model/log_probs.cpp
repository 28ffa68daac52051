#include "model/log_probs.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/math.hpp"
#include "plan/grid.hpp"

namespace moesaic {
namespace {

// So that every rank's part of the vocabulary is whole blocks.
static_assert(kLogProbBlock == plan::kVocabularyPiece_rows);

}  // namespace

void block_sums(std::span<const float> part, std::int32_t first_id, std::vector<BlockSum>& sums) {
  MOESAIC_CHECK(first_id % static_cast<std::int32_t>(kLogProbBlock) == 0, "first id {}", first_id);
  for (std::size_t begin = 0; begin < part.size(); begin += kLogProbBlock)
    sums.push_back(backend::block_sum(part.subspan(begin, std::min(kLogProbBlock, part.size() - begin)),
                                      first_id + static_cast<std::int32_t>(begin)));
}

RowSum combine(std::span<const BlockSum> blocks) {
  MOESAIC_CHECK(!blocks.empty(), "a row without blocks");
  const auto first = std::max_element(blocks.begin(), blocks.end(),
                                      [](const BlockSum& a, const BlockSum& b) { return a.max < b.max; });
  RowSum row{first->max, 0, first->argmax};
  double sum = 0;
  for (const BlockSum& block : blocks)
    sum += static_cast<double>(block.sum) * math::clamped_exp_f64(static_cast<double>(block.max) - row.max);
  row.log_sum = math::log_f64(sum);
  return row;
}

RowSum row_sum(std::span<const float> logits) {
  thread_local std::vector<BlockSum> blocks;
  blocks.clear();
  block_sums(logits, 0, blocks);
  return combine(blocks);
}

double log_prob(float logit, const RowSum& row) { return (static_cast<double>(logit) - row.max) - row.log_sum; }

std::vector<TokenLogProb> top_log_probs(std::span<const float> logits, std::size_t n, const RowSum& row) {
  std::vector<std::int32_t> best;  // most probable first
  n = std::min(n, logits.size());
  best.reserve(n + 1);
  const auto logit_of = [&](std::int32_t id) { return logits[static_cast<std::size_t>(id)]; };
  for (std::size_t id = 0; n > 0 && id < logits.size(); ++id) {
    if (best.size() == n && !(logits[id] > logit_of(best.back()))) continue;
    const auto place = std::upper_bound(best.begin(), best.end(), logits[id],
                                        [&](float logit, std::int32_t other) { return logit > logit_of(other); });
    best.insert(place, static_cast<std::int32_t>(id));
    if (best.size() > n) best.pop_back();
  }
  std::vector<TokenLogProb> top;
  for (const std::int32_t id : best) top.push_back({id, log_prob(logit_of(id), row)});
  return top;
}

}  // namespace moesaic
