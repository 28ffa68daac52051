#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/block_sum.hpp"

namespace moesaic {

using backend::BlockSum;
using backend::kLogProbBlock;

/// The sums of a row's part whose first logit is that of id `first_id`, a multiple of kLogProbBlock; appends to `sums`.
void block_sums(std::span<const float> part, std::int32_t first_id, std::vector<BlockSum>& sums);

/// All of a row: its largest logit, and the logarithm of the sum of exp(logit - max).
struct RowSum {
  double max = 0;
  double log_sum = 0;
  std::int32_t argmax = 0;  ///< the lowest id with the largest logit
};

/// The blocks of a whole row in ascending id, wherever they were computed.
RowSum combine(std::span<const BlockSum> blocks);

/// The same for a row that lies here, in one call.
RowSum row_sum(std::span<const float> logits);

/// log p of a token with this logit, at most 0.
double log_prob(float logit, const RowSum& row);

struct TokenLogProb {
  std::int32_t id = 0;
  double log_prob = 0;
};

/// The n most probable tokens (fewer if V < n), most probable first; ties: the lower id first.
std::vector<TokenLogProb> top_log_probs(std::span<const float> logits, std::size_t n, const RowSum& row);

}  // namespace moesaic
