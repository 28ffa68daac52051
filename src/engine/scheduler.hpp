#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/token_batch.hpp"

namespace moesaic {

/// A request on its way: its tokens so far and how many of them are in the KV cache.
struct Sequence {
  std::int32_t index = 0;            ///< of the request in the input
  std::vector<std::int32_t> tokens;  ///< prompt and continuation
  std::int64_t num_prompt = 0;
  std::int64_t num_cached = 0;
  bool all_logits = false;  ///< logits of every position are wanted, not only of the newest
  bool finished = false;

  std::int64_t num_pending() const { return static_cast<std::int64_t>(tokens.size()) - num_cached; }
};

struct SchedulerOptions {
  int num_groups = 1;                ///< dp: a sequence belongs to group index % dp
  int num_stages = 1;                ///< pp: as many micro-batches are wanted in flight
  std::int64_t prefill_chunk = 512;  ///< most tokens of one sequence in a micro-batch; 0: the whole prompt
  std::int64_t batch_rows = 512;     ///< most rows of a micro-batch (at least one chunk)
};

/// Most rows that a micro-batch of these prompts (their numbers of tokens) can have with the default row limit.
std::int64_t largest_batch_rows(std::span<const std::int64_t> num_prompt_tokens, std::int64_t prefill_chunk);

/// Next micro-batches of the unfinished sequences, in input order; pending tokens are marked as cached. Pure: which
/// tokens share a batch changes no result.
std::vector<TokenBatch> schedule(std::vector<Sequence>& sequences, const SchedulerOptions& options);

}  // namespace moesaic
