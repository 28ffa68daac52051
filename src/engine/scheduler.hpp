#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <vector>

#include "engine/prefix_sharing.hpp"
#include "model/token_batch.hpp"
#include "plan/grid.hpp"

namespace moesaic {

/// Which tokens pass through the model next, and which blocks of the KV cache they are kept in. Pure: knows no MPI, no
/// memory and no time. The same calls give the same steps; which tokens share a step changes no result.
///
/// Sequences are served in the order in which they were added. One that needs a block when there is none takes it from
/// the youngest of its group, which starts anew later; so the oldest always goes on, and all come to their end.
struct SchedulerOptions {
  int num_groups = 1;                ///< dp: attention groups, each with a KV cache of its own
  int num_stages = 1;                ///< pp: as many micro-batches are wanted in flight
  std::int64_t prefill_chunk = 512;  ///< most tokens of one sequence in a micro-batch; 0: the whole prompt
  std::int64_t batch_rows = 512;     ///< most rows of a micro-batch (at least one chunk)
  std::int64_t most_sequences = std::numeric_limits<std::int64_t>::max();        ///< under way at the same time
  std::int64_t blocks_per_group = std::numeric_limits<std::int32_t>::max() / 2;  ///< of the KV cache
  /// From so many tokens on that could pass, micro-batches are cut in two that go through a stage side by side; 0:
  /// never.
  std::int64_t overlap_rows = 0;
  bool share_prefixes = true;  ///< begin a sequence with the cached blocks of one that begins alike

  SchedulerOptions& for_layout(const plan::Layout& layout) {
    num_groups = layout.dp;
    num_stages = layout.pp;
    return *this;
  }
};

/// Most rows that a micro-batch of these prompts (their numbers of tokens) can have with the default row limit.
std::int64_t largest_batch_rows(std::span<const std::int64_t> num_prompt_tokens, std::int64_t prefill_chunk);

/// Blocks that so many tokens take.
std::int64_t blocks_for(std::int64_t num_tokens);

class Scheduler {
 public:
  /// num_added: sequences that count as added before.
  explicit Scheduler(const SchedulerOptions& options, std::int64_t num_added = 0);

  /// Adds a sequence and returns its number: how many were added before, modulo 2^31. No two that are under way have
  /// the same one as long as fewer than 2^31 are added while one of them is. Logits are wanted from position
  /// first_logit on, once each.
  SequenceId add(std::vector<std::int32_t> tokens, std::int64_t first_logit);
  /// Adds a sequence that will not grow: only how probable each token behind first_row is is wanted. Its last
  /// token does not pass.
  SequenceId add_scored(std::vector<std::int32_t> tokens, std::int64_t first_row);
  /// Adds a token to a sequence, drawn from its last logits.
  void append(SequenceId sequence, std::int32_t token);
  /// Ends a sequence; it is forgotten.
  void finish(SequenceId sequence);

  /// The next step; it has no batches when nothing is pending.
  Step next();

  const std::vector<std::int32_t>& tokens(SequenceId sequence) const;
  /// True if a sequence of so many tokens fits in a group's KV cache.
  bool fits(std::int64_t num_tokens) const { return blocks_for(num_tokens) <= options_.blocks_per_group; }

  std::int64_t num_waiting() const { return std::ssize(waiting_); }
  std::int64_t num_running() const { return std::ssize(running_); }
  std::int64_t num_used_blocks() const;

  struct Counts {
    std::int64_t preempted = 0;      ///< times that a sequence had to start anew
    std::int64_t shared_tokens = 0;  ///< that did not pass because their keys and values were there
  };
  const Counts& counts() const { return counts_; }

 private:
  static constexpr std::int64_t kNumNumbers = std::int64_t{1} << 31;  // numbers are not negative
  struct Sequence {
    std::vector<std::int32_t> tokens;
    std::int64_t next_logit = 0;  ///< first position whose logits are wanted and have not been asked for
    bool scored = false;
    std::int64_t num_cached = 0;  ///< tokens in the KV cache after the steps so far
    plan::GroupId group;
    std::vector<BlockId> blocks;
    BlockContents contents;
    std::int64_t num_to_pass() const { return std::ssize(tokens) - (scored ? 1 : 0); }
    std::int64_t num_pending() const { return num_to_pass() - num_cached; }
    bool decodes() const { return num_pending() == 1; }
  };
  struct Chunk {
    std::int64_t first = 0, size = 0;
  };
  /// A sequence's place among all that were ever added: the smaller, the older.
  using Age = std::int64_t;
  /// A micro-batch in the making: the chunk of each of its sequences.
  struct Draft {
    std::map<Age, Chunk> chunks;
    IdVector<plan::GroupId, std::int64_t> group_rows;
    std::int64_t num_rows = 0;
  };
  using Sequences = std::map<Age, Sequence>;  // the oldest first

  static SequenceId number_of(Age age) { return SequenceId(age % kNumNumbers); }
  Age age_of(SequenceId number) const;
  BlockPool& pool(const Sequence& s) { return pools_[s.group]; }
  SequenceId enqueue(std::vector<std::int32_t> tokens, std::int64_t first_logit, bool scored);
  void make_room(Step& step);
  void preempt(Sequences::iterator victim);
  void release(Age age, Sequence& s);
  /// Rows that have not passed yet, of running and waiting sequences.
  struct Pending {
    std::int64_t num_rows = 0, longest_chunk = 0;
  };
  Pending count_pending() const;
  std::int64_t row_limit(const Pending& pending, int side_by_side) const;
  TokenBatch draft_batch(std::int64_t row_limit, Step& step);
  void extend(Draft& draft, Age age, std::int64_t most_rows);
  void admit(Draft& draft, std::int64_t row_limit, Step& step);
  enum class Place : std::uint8_t { kHere, kLater, kNone };  ///< kLater: another is computing how it begins
  Place place(Sequence& s);
  void mark_cached(Sequence& s, std::int64_t size);
  TokenBatch to_batch(const Draft& draft);

  SchedulerOptions options_;
  IdVector<plan::GroupId, BlockPool> pools_;
  Sequences waiting_, running_;
  IdVector<plan::GroupId, ComingContents> coming_;
  std::vector<SequenceId> released_;
  Age num_added_;
  Counts counts_;
};

}  // namespace moesaic
