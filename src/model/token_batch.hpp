#pragma once

#include <cstdint>
#include <vector>

#include "model/ids.hpp"

namespace moesaic {

/// One micro-batch: the rows (tokens) that pass through the model together, the same on all ranks. Rows are ordered by
/// attention group, then sequence, then position.
struct TokenBatch {
  std::vector<std::int32_t> tokens;                      ///< (T)
  std::vector<SequenceId> sequences;                     ///< (T)
  std::vector<std::int32_t> positions;                   ///< (T) from 0
  IdVector<plan::GroupId, std::int64_t> num_group_rows;  ///< rows of each attention group
  std::vector<std::int32_t> logit_rows;                  ///< rows whose logits are wanted, ascending
  std::vector<std::int32_t> score_rows;    ///< rows of which only the log-probability of a token is, ascending
  std::vector<std::int32_t> score_tokens;  ///< that token of each

  std::int64_t num_rows() const { return static_cast<std::int64_t>(tokens.size()); }
};

/// Blocks of an attention group's KV cache that a sequence gets, behind those that it has.
struct BlockGrant {
  SequenceId sequence;
  plan::GroupId group;
  std::vector<BlockId> blocks;
};

inline constexpr int kMostSideBySide = 2;

/// What all ranks do next, in this order.
struct Step {
  std::vector<SequenceId> released;  ///< sequences that give up their blocks
  std::vector<BlockGrant> grants;
  std::vector<TokenBatch> batches;  ///< empty: the run is over
  int side_by_side = 1;             ///< batches that go through a stage together, at most kMostSideBySide
};

}  // namespace moesaic
