#include "engine/scheduler.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "config/kv_page.hpp"

namespace moesaic {

std::int64_t blocks_for(std::int64_t num_tokens) { return (num_tokens + kBlockKeys - 1) / kBlockKeys; }

std::int64_t largest_batch_rows(std::span<const std::int64_t> num_prompt_tokens, std::int64_t prefill_chunk) {
  std::int64_t total = 0, longest_chunk = 0;
  for (const std::int64_t num_tokens : num_prompt_tokens) {
    total += num_tokens;
    longest_chunk = std::max(longest_chunk, prefill_chunk > 0 ? std::min(num_tokens, prefill_chunk) : num_tokens);
  }
  return std::min(total, std::max(SchedulerOptions{}.batch_rows, longest_chunk));
}

Scheduler::Scheduler(const SchedulerOptions& options, std::int64_t num_added)
    : options_(options),
      pools_(options.num_groups, BlockPool(options.blocks_per_group)),
      coming_(pools_.size()),
      num_added_(num_added) {
  if (options_.prefill_chunk <= 0) options_.prefill_chunk = std::numeric_limits<std::int64_t>::max();
}

SequenceId Scheduler::add(std::vector<std::int32_t> tokens, std::int64_t first_logit) {
  return enqueue(std::move(tokens), first_logit, false);
}

SequenceId Scheduler::add_scored(std::vector<std::int32_t> tokens, std::int64_t first_row) {
  MOESAIC_CHECK(tokens.size() > 1, "a sequence of {} tokens cannot be scored", tokens.size());
  return enqueue(std::move(tokens), first_row, true);
}

SequenceId Scheduler::enqueue(std::vector<std::int32_t> tokens, std::int64_t first_logit, bool scored) {
  Sequence& s = waiting_[num_added_];
  s.tokens = std::move(tokens);
  s.next_logit = first_logit;
  s.scored = scored;
  MOESAIC_CHECK(!s.tokens.empty() && fits(s.num_to_pass()), "a sequence of {} tokens to pass, at most {} blocks",
                s.num_to_pass(), options_.blocks_per_group);
  return number_of(num_added_++);
}

/// The youngest that has this number.
Scheduler::Age Scheduler::age_of(SequenceId number) const {
  const Age youngest = num_added_ - 1;
  return youngest - (youngest - number.value()) % kNumNumbers;
}

void Scheduler::append(SequenceId sequence, std::int32_t token) {
  running_.at(age_of(sequence)).tokens.push_back(token);
}

void Scheduler::finish(SequenceId sequence) {
  const Age age = age_of(sequence);
  if (waiting_.erase(age) > 0) return;
  const auto found = running_.find(age);
  release(age, found->second);
  running_.erase(found);
}

const std::vector<std::int32_t>& Scheduler::tokens(SequenceId sequence) const {
  const auto found = running_.find(age_of(sequence));
  return found != running_.end() ? found->second.tokens : waiting_.at(age_of(sequence)).tokens;
}

std::int64_t Scheduler::num_used_blocks() const {
  std::int64_t num = 0;
  for (const BlockPool& pool : pools_) num += pool.num_blocks() - pool.num_free();
  return num;
}

Step Scheduler::next() {
  Step step;
  make_room(step);
  const Pending pending = count_pending();
  step.side_by_side = options_.overlap_rows > 0 && pending.num_rows >= options_.overlap_rows ? kMostSideBySide : 1;
  const int most_batches = (options_.num_stages == 1 ? 1 : 2 * options_.num_stages) * step.side_by_side;
  const std::int64_t limit = row_limit(pending, step.side_by_side);
  while (std::ssize(step.batches) < most_batches) {
    TokenBatch batch = draft_batch(limit, step);
    if (batch.tokens.empty()) break;
    step.batches.push_back(std::move(batch));
  }
  step.released = std::exchange(released_, {});
  return step;
}

/// Blocks for the tokens that were drawn, the oldest sequences first.
void Scheduler::make_room(Step& step) {
  for (auto it = running_.begin(); it != running_.end();) {
    auto& [age, s] = *it;
    BlockGrant grant{number_of(age), s.group, {}};
    bool preempted = false;
    while (!preempted && std::ssize(s.blocks) < blocks_for(s.num_to_pass())) {
      if (pool(s).num_free() > 0) {
        s.blocks.push_back(pool(s).take());
        grant.blocks.push_back(s.blocks.back());
        continue;
      }
      auto youngest = std::prev(running_.end());
      while (youngest->second.group != s.group) --youngest;
      if ((preempted = youngest == it)) ++it;
      preempt(youngest);
    }
    if (preempted) continue;
    if (!grant.blocks.empty()) step.grants.push_back(std::move(grant));
    ++it;
  }
}

void Scheduler::preempt(Sequences::iterator victim) {
  ++counts_.preempted;
  release(victim->first, victim->second);
  waiting_.insert(running_.extract(victim));
}

void Scheduler::release(Age age, Sequence& s) {
  released_.push_back(number_of(age));
  const auto num_computed = static_cast<std::size_t>(s.num_cached / kBlockKeys);
  if (num_computed < s.contents.size()) coming_[s.group].remove(std::span(s.contents).subspan(num_computed));
  // The end first: of what is left behind, the beginnings are of use longest.
  for (auto block = s.blocks.rbegin(); block != s.blocks.rend(); ++block) pool(s).drop(*block);
  s.blocks.clear();
  s.num_cached = 0;
}

Scheduler::Pending Scheduler::count_pending() const {
  Pending pending;
  for (const Sequences* sequences : {&running_, &waiting_})
    for (const auto& [age, s] : *sequences) {
      pending.num_rows += s.num_pending();
      pending.longest_chunk = std::max(pending.longest_chunk, std::min(s.num_pending(), options_.prefill_chunk));
    }
  return pending;
}

/// Small work is spread over the stages and what goes side by side, large work is cut by the row limit, which holds for
/// those together.
std::int64_t Scheduler::row_limit(const Pending& pending, int side_by_side) const {
  const auto part = [](std::int64_t whole, std::int64_t num) { return (whole + num - 1) / num; };
  return std::min(part(pending.num_rows, std::int64_t{options_.num_stages} * side_by_side),
                  part(std::max(options_.batch_rows, pending.longest_chunk), side_by_side));
}

/// First what decodes, then chunks of prompts; every group gets its share of the rows before any gets more.
TokenBatch Scheduler::draft_batch(std::int64_t row_limit, Step& step) {
  Draft draft{{}, IdVector<plan::GroupId, std::int64_t>(pools_.size()), 0};
  const std::int64_t share = (row_limit + options_.num_groups - 1) / options_.num_groups;
  for (const auto& [age, s] : running_)
    if (s.decodes()) extend(draft, age, row_limit - draft.num_rows);
  for (const auto& [age, s] : running_)
    extend(draft, age, std::min(share - draft.group_rows[s.group], row_limit - draft.num_rows));
  admit(draft, row_limit, step);
  if (options_.num_groups > 1)
    for (const auto& [age, s] : running_) extend(draft, age, row_limit - draft.num_rows);
  return to_batch(draft);
}

/// Adds pending tokens of a running sequence to a batch, behind those that it has there.
void Scheduler::extend(Draft& draft, Age age, std::int64_t most_rows) {
  Sequence& s = running_.at(age);
  const auto there = draft.chunks.find(age);
  const std::int64_t used = there == draft.chunks.end() ? 0 : there->second.size;
  const std::int64_t size = std::min({s.num_pending(), options_.prefill_chunk - used, most_rows});
  if (size <= 0) return;
  Chunk& chunk = draft.chunks.try_emplace(age, Chunk{s.num_cached, 0}).first->second;
  chunk.size += size;
  draft.num_rows += size;
  draft.group_rows[s.group] += size;
  mark_cached(s, size);
}

/// Begins waiting sequences, the oldest first, while there are rows and blocks for them.
void Scheduler::admit(Draft& draft, std::int64_t row_limit, Step& step) {
  const std::int64_t share = (row_limit + options_.num_groups - 1) / options_.num_groups;
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    if (draft.num_rows >= row_limit || std::ssize(running_) >= options_.most_sequences) return;
    const auto here = it++;
    const Age age = here->first;
    switch (place(here->second)) {
      case Place::kNone:
        return;  // younger ones must not take for ever what it waits for
      case Place::kLater:
        continue;
      case Place::kHere:
        break;
    }
    running_.insert(waiting_.extract(here));
    const Sequence& s = running_.at(age);
    step.grants.push_back({number_of(age), s.group, s.blocks});
    extend(draft, age, std::min(share - draft.group_rows[s.group], row_limit - draft.num_rows));
  }
}

/// Gives a waiting sequence its group and its blocks.
Scheduler::Place Scheduler::place(Sequence& s) {
  if (options_.share_prefixes) hash_blocks(s.tokens, s.contents);
  IdVector<plan::GroupId, std::int64_t> num_running(pools_.size());
  for (const auto& [age, other] : running_) ++num_running[other.group];

  // Where most blocks stay free. Each running sequence may soon need one more.
  std::optional<plan::GroupId> best;
  std::vector<BlockId> cached;  // of its blocks, those that the sequence begins with
  std::int64_t most_left = 0;
  for (const plan::GroupId group : pools_.ids()) {
    const BlockPool& pool = pools_[group];
    auto found = cached_blocks(s.contents, s.next_logit, pool);
    const std::int64_t unused = std::ranges::count_if(found, [&](BlockId block) { return pool.unused(block); });
    const std::int64_t left = pool.num_free() - unused - (blocks_for(s.num_to_pass()) - std::ssize(found));
    if (left < num_running[group] || (best && left <= most_left)) continue;
    best = group;
    most_left = left;
    cached = std::move(found);
  }
  if (!best) return Place::kNone;

  BlockPool& pool = pools_[*best];
  ComingContents& coming = coming_[*best];
  if (cached.size() < num_shareable(s.contents, s.next_logit) && coming.contains(s.contents[cached.size()]))
    return Place::kLater;
  s.group = *best;
  s.blocks = cached;
  s.num_cached = std::ssize(cached) * kBlockKeys;
  counts_.shared_tokens += s.num_cached;
  for (const BlockId block : cached) pool.add_user(block);
  while (std::ssize(s.blocks) < blocks_for(s.num_to_pass())) s.blocks.push_back(pool.take());
  coming.add(std::span(s.contents).subspan(cached.size()));
  return Place::kHere;
}

/// The rows are sure to pass before those of later chunks and batches: from now on others may begin with these blocks.
void Scheduler::mark_cached(Sequence& s, std::int64_t size) {
  const auto first = static_cast<std::size_t>(s.num_cached / kBlockKeys);
  s.num_cached += size;
  if (!options_.share_prefixes) return;
  hash_blocks(s.tokens, s.contents);
  const auto end = static_cast<std::size_t>(s.num_cached / kBlockKeys);
  for (std::size_t block = first; block < end; ++block) pool(s).remember(s.blocks[block], s.contents[block]);
  coming_[s.group].remove(std::span(s.contents).subspan(first, end - first));
}

TokenBatch Scheduler::to_batch(const Draft& draft) {
  TokenBatch batch;
  batch.num_group_rows = draft.group_rows;
  for (const plan::GroupId group : pools_.ids())
    for (const auto& [age, chunk] : draft.chunks) {
      Sequence& s = running_.at(age);
      if (s.group != group) continue;
      for (std::int64_t position = chunk.first; position < chunk.first + chunk.size; ++position) {
        if (position >= s.next_logit) {
          (s.scored ? batch.score_rows : batch.logit_rows).push_back(static_cast<std::int32_t>(batch.tokens.size()));
          if (s.scored) batch.score_tokens.push_back(s.tokens[static_cast<std::size_t>(position) + 1]);
          s.next_logit = position + 1;
        }
        batch.tokens.push_back(s.tokens[static_cast<std::size_t>(position)]);
        batch.sequences.push_back(number_of(age));
        batch.positions.push_back(static_cast<std::int32_t>(position));
      }
    }
  return batch;
}

}  // namespace moesaic
