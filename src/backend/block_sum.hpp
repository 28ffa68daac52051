#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "base/math.hpp"

namespace moesaic::backend {

/// What a block of a logits row (kLogProbBlock ids from a multiple of it; the last block may be shorter) is to the
/// row's log-probabilities: two floats and an id may travel between ranks instead of the block.
struct BlockSum {
  float max = 0;            ///< largest logit
  float sum = 0;            ///< of exp(logit - max), ascending id
  std::int32_t argmax = 0;  ///< the lowest id with the largest logit
};
inline constexpr std::size_t kLogProbBlock = 64;

/// The sum of a block whose first logit is that of id `first_id`. The host sums up a row that it has, and kernels rows
/// that they have made, by this one definition.
inline BlockSum block_sum(std::span<const float> logits, std::int32_t first_id) {
  const auto largest = std::max_element(logits.begin(), logits.end());  // the first of equal ones
  float weights[kLogProbBlock];
  for (std::size_t i = 0; i < logits.size(); ++i) weights[i] = math::exp_f32(logits[i] - *largest);
  float sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) sum += weights[i];
  return {*largest, sum, first_id + static_cast<std::int32_t>(largest - logits.begin())};
}

/// Where the sums of one row lie, of a part of the vocabulary: its blocks, then the logit of the token that the row is
/// scored for, if the part has it.
struct RowSums {
  std::int64_t num_blocks = 0;

  constexpr static RowSums of(std::int64_t num_ids) {
    return {(num_ids + static_cast<std::int64_t>(kLogProbBlock) - 1) / static_cast<std::int64_t>(kLogProbBlock)};
  }
  constexpr std::size_t logit_offset_bytes() const { return static_cast<std::size_t>(num_blocks) * sizeof(BlockSum); }
  constexpr std::size_t size_bytes() const { return logit_offset_bytes() + sizeof(float); }
};

}  // namespace moesaic::backend
