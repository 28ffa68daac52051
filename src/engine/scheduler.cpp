#include "engine/scheduler.hpp"

#include <algorithm>
#include <limits>

namespace moesaic {
namespace {

/// Tokens [first, first + size) of a sequence.
struct Chunk {
  const Sequence* sequence;
  std::int64_t first, size;
};

TokenBatch to_batch(std::vector<Chunk> chunks, const SchedulerOptions& options) {
  const auto group = [&](const Chunk& chunk) { return chunk.sequence->index % options.num_groups; };
  std::stable_sort(chunks.begin(), chunks.end(), [&](const Chunk& a, const Chunk& b) { return group(a) < group(b); });
  TokenBatch batch;
  batch.num_group_rows.assign(static_cast<std::size_t>(options.num_groups), 0);
  for (const Chunk& chunk : chunks) {
    const Sequence& s = *chunk.sequence;
    batch.num_group_rows[static_cast<std::size_t>(group(chunk))] += chunk.size;
    for (std::int64_t position = chunk.first; position < chunk.first + chunk.size; ++position) {
      if (s.all_logits || position + 1 == std::ssize(s.tokens))
        batch.logit_rows.push_back(static_cast<std::int32_t>(batch.tokens.size()));
      batch.tokens.push_back(s.tokens[static_cast<std::size_t>(position)]);
      batch.sequences.push_back(s.index);
      batch.positions.push_back(static_cast<std::int32_t>(position));
    }
  }
  return batch;
}

}  // namespace

std::int64_t largest_batch_rows(std::span<const std::int64_t> num_prompt_tokens, std::int64_t prefill_chunk) {
  std::int64_t total = 0, longest_chunk = 0;
  for (const std::int64_t num_tokens : num_prompt_tokens) {
    total += num_tokens;
    longest_chunk = std::max(longest_chunk, prefill_chunk > 0 ? std::min(num_tokens, prefill_chunk) : num_tokens);
  }
  return std::min(total, std::max(SchedulerOptions{}.batch_rows, longest_chunk));
}

std::vector<TokenBatch> schedule(std::vector<Sequence>& sequences, const SchedulerOptions& options) {
  constexpr int kBatchesInFlightPerStage = 2;
  const std::int64_t most_batches = options.num_stages == 1 ? 1 : kBatchesInFlightPerStage * options.num_stages;
  const std::int64_t chunk_limit =
      options.prefill_chunk > 0 ? options.prefill_chunk : std::numeric_limits<std::int64_t>::max();

  std::int64_t num_pending = 0, longest_chunk = 0;
  for (const Sequence& s : sequences)
    if (!s.finished) {
      num_pending += s.num_pending();
      longest_chunk = std::max(longest_chunk, std::min(s.num_pending(), chunk_limit));
    }
  // Small work is spread over the stages, large work is cut by the row limit.
  const std::int64_t spread = (num_pending + options.num_stages - 1) / options.num_stages;
  const std::int64_t row_limit = std::min(spread, std::max(options.batch_rows, longest_chunk));

  std::vector<TokenBatch> batches;
  while (std::ssize(batches) < most_batches) {
    std::vector<Chunk> chunks;
    std::int64_t num_rows = 0;
    for (Sequence& s : sequences) {
      const std::int64_t size = std::min({s.num_pending(), chunk_limit, row_limit - num_rows});
      if (s.finished || size <= 0) continue;
      chunks.push_back({&s, s.num_cached, size});
      s.num_cached += size;
      num_rows += size;
    }
    if (chunks.empty()) break;
    batches.push_back(to_batch(std::move(chunks), options));
  }
  return batches;
}

}  // namespace moesaic
