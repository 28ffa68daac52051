#include "engine/scheduler.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "config/kv_page.hpp"

namespace moesaic {
namespace {

std::vector<std::int32_t> tokens(std::int64_t num, std::int32_t first = 1) {
  std::vector<std::int32_t> list;
  for (std::int64_t i = 0; i < num; ++i) list.push_back(first + static_cast<std::int32_t>(i));
  return list;
}

/// Stands for the ranks: keeps what every block holds, and checks each step as the model would need it.
class Ranks {
 public:
  explicit Ranks(const SchedulerOptions& options) : options_(options), content_(options.num_groups) {}

  /// Returns the sequences that are to get a token, in the order of their rows.
  std::vector<SequenceId> run(const Scheduler& scheduler, const Step& step) {
    for (const SequenceId sequence : step.released) tables_.erase(sequence);
    for (const BlockGrant& grant : step.grants) {
      Table& table = tables_[grant.sequence];
      table.group = grant.group;
      table.blocks.insert(table.blocks.end(), grant.blocks.begin(), grant.blocks.end());
      for (const BlockId block : grant.blocks) EXPECT_LT(block.value(), options_.blocks_per_group);
    }
    std::vector<SequenceId> wanted;
    for (const TokenBatch& batch : step.batches) check(scheduler, batch, step.side_by_side, wanted);
    return wanted;
  }

 private:
  struct Table {
    plan::GroupId group;
    std::vector<BlockId> blocks;
  };

  void check(const Scheduler& scheduler, const TokenBatch& batch, int side_by_side, std::vector<SequenceId>& wanted) {
    const std::int64_t longest_chunk = options_.prefill_chunk > 0 ? options_.prefill_chunk : 1 << 30;
    EXPECT_GT(batch.num_rows(), 0);
    EXPECT_LE((batch.num_rows() - 1) * side_by_side, std::max(options_.batch_rows, longest_chunk) - 1);
    std::map<SequenceId, std::int64_t> rows_of;
    std::size_t row = 0;
    for (const plan::GroupId group : content_.ids())
      for (std::int64_t i = 0; i < batch.num_group_rows[group]; ++i, ++row) {
        const SequenceId sequence = batch.sequences[row];
        EXPECT_LE(++rows_of[sequence], longest_chunk);
        EXPECT_EQ(tables_.at(sequence).group, group);
        write(sequence, batch.positions[row], batch.tokens[row]);
      }
    EXPECT_EQ(row, batch.tokens.size());
    // Keys of all rows are written before any is attended to.
    for (row = 0; row < batch.tokens.size(); ++row)
      if (row + 1 == batch.tokens.size() || batch.sequences[row + 1] != batch.sequences[row])
        check_cached(scheduler.tokens(batch.sequences[row]), batch.sequences[row], batch.positions[row]);
    for (const std::int32_t r : batch.logit_rows) {
      const auto at = static_cast<std::size_t>(r);
      EXPECT_TRUE(asked_.insert({batch.sequences[at], batch.positions[at]}).second) << "logits are asked for once";
      wanted.push_back(batch.sequences[at]);
    }
  }

  std::vector<std::int32_t>& block_of(SequenceId sequence, std::int64_t position) {
    const Table& table = tables_.at(sequence);
    auto& content = content_[table.group][table.blocks.at(static_cast<std::size_t>(position / kBlockKeys))];
    content.resize(kBlockKeys, -1);
    return content;
  }
  void write(SequenceId sequence, std::int64_t position, std::int32_t token) {
    block_of(sequence, position)[static_cast<std::size_t>(position % kBlockKeys)] = token;
  }
  void check_cached(const std::vector<std::int32_t>& expected, SequenceId sequence, std::int64_t last) {
    for (std::int64_t position = 0; position <= last; ++position)
      ASSERT_EQ(block_of(sequence, position)[static_cast<std::size_t>(position % kBlockKeys)],
                expected[static_cast<std::size_t>(position)])
          << "sequence " << sequence.value() << " position " << position;
  }

  SchedulerOptions options_;
  std::map<SequenceId, Table> tables_;
  IdVector<plan::GroupId, std::map<BlockId, std::vector<std::int32_t>>> content_;
  std::set<std::pair<SequenceId, std::int64_t>> asked_;
};

/// A random load until its end: every sequence gets its tokens, limits are kept, no block is lost.
void run_random_load(std::uint32_t seed, Scheduler::Counts& counts) {
  std::mt19937 random(seed);
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
  };
  SchedulerOptions options;
  options.num_groups = 1 + static_cast<int>(below(3));
  options.num_stages = 1 + static_cast<int>(below(4));
  options.prefill_chunk = below(4) == 0 ? 0 : 1 + below(200);
  options.batch_rows = 1 + below(300);
  options.blocks_per_group = 4 + below(30);
  options.most_sequences = 1 + below(40);
  options.share_prefixes = below(4) != 0;
  options.overlap_rows = below(2) * (1 + below(200));
  Scheduler scheduler(options);
  Ranks ranks(options);

  const std::int64_t longest = options.blocks_per_group * kBlockKeys;
  std::map<SequenceId, std::int64_t> still_wanted;  // tokens to draw
  std::int64_t num_to_add = 1 + below(40);
  const auto common = tokens(longest, 1);
  for (int step_idx = 0;; ++step_idx) {
    ASSERT_LT(step_idx, 200000) << "does not end";
    for (std::int64_t i = below(5); num_to_add > 0 && (i > 0 || still_wanted.empty()); --i, --num_to_add) {
      const std::int64_t num_prompt = 1 + below(std::min<std::int64_t>(longest - 1, 400)),
                         num_shared = below(3) == 0 ? 0 : below(num_prompt + 1);
      auto prompt = tokens(num_prompt, 1000 * static_cast<std::int32_t>(1 + num_to_add));
      std::copy_n(common.begin(), num_shared, prompt.begin());
      const std::int64_t num_draw = 1 + below(std::min<std::int64_t>(longest - num_prompt, 150));
      ASSERT_TRUE(scheduler.fits(num_prompt + num_draw));
      const bool all_logits = below(5) == 0;  // as a run that scores: nothing is drawn
      const auto number = scheduler.add(std::move(prompt), all_logits ? below(num_prompt) : num_prompt - 1);
      still_wanted[number] = all_logits ? -1 : num_draw;
    }
    const Step step = scheduler.next();
    ASSERT_LE(scheduler.num_running(), options.most_sequences);
    if (step.batches.empty()) {
      ASSERT_TRUE(still_wanted.empty()) << "nothing goes on, " << still_wanted.size() << " sequences are left";
      if (num_to_add == 0) break;
      continue;
    }
    std::set<SequenceId> at_end;
    for (const TokenBatch& batch : step.batches)
      for (std::size_t row = 0; row < batch.tokens.size(); ++row)
        if (batch.positions[row] + 1 == std::ssize(scheduler.tokens(batch.sequences[row])))
          at_end.insert(batch.sequences[row]);
    const auto wanted = ranks.run(scheduler, step);
    if (::testing::Test::HasFatalFailure()) return;
    const std::set<SequenceId> drawn(wanted.begin(), wanted.end());
    for (const SequenceId number : at_end) {
      ASSERT_TRUE(drawn.contains(number)) << "the newest row has logits";
      std::int64_t& left = still_wanted.at(number);
      if (left > 0) scheduler.append(number, 500000 + number.value());
      if (left > 0 && --left > 0) continue;
      scheduler.finish(number);
      still_wanted.erase(number);
    }
  }
  EXPECT_EQ(scheduler.num_used_blocks(), 0);
  EXPECT_EQ(scheduler.num_running() + scheduler.num_waiting(), 0);
  counts.preempted += scheduler.counts().preempted;
  counts.shared_tokens += scheduler.counts().shared_tokens;
}

TEST(Scheduler, RandomLoadsComeToTheirEnd) {
  Scheduler::Counts counts;
  for (std::uint32_t seed = 0; seed < 2000; ++seed) {
    SCOPED_TRACE(seed);
    run_random_load(seed, counts);
    if (HasFailure()) return;
  }
  EXPECT_GT(counts.preempted, 500);
  EXPECT_GT(counts.shared_tokens, 100000);
}

TEST(Scheduler, AChunkMayBeLargerThanTheRowLimit) {
  Scheduler scheduler({1, 1, 1000, 512});
  scheduler.add(tokens(1500), 1499);
  scheduler.add(tokens(20, 5000), 19);
  const Step step = scheduler.next();
  ASSERT_EQ(step.batches.size(), 1u);
  EXPECT_EQ(step.batches[0].num_rows(), 1000);
  const std::int64_t lengths[] = {1500, 20};
  EXPECT_EQ(largest_batch_rows(lengths, 1000), 1000);
  EXPECT_EQ(largest_batch_rows(lengths, 0), 1500);
  EXPECT_EQ(largest_batch_rows(lengths, 7), 512);
}

TEST(Scheduler, DecodingKeepsEveryStageBusy) {
  Scheduler scheduler({1, 2});
  for (int i = 0; i < 4; ++i) scheduler.add(tokens(5, 100 * i), 4);
  scheduler.next();
  for (int i = 0; i < 4; ++i) scheduler.append(SequenceId(i), 9);
  const Step step = scheduler.next();
  ASSERT_EQ(step.batches.size(), 2u);
  EXPECT_EQ(step.batches[0].num_rows(), 2);
  EXPECT_EQ(step.batches[1].num_rows(), 2);
  for (int i = 0; i < 4; ++i) scheduler.finish(SequenceId(i));
  EXPECT_TRUE(scheduler.next().batches.empty());
}

TEST(Scheduler, EnoughRowsGoSideBySide) {
  SchedulerOptions options;
  options.batch_rows = 100;
  options.overlap_rows = 60;
  Scheduler scheduler(options);
  scheduler.add(tokens(59), 58);
  Step step = scheduler.next();
  EXPECT_EQ(step.side_by_side, 1);
  ASSERT_EQ(step.batches.size(), 1u);
  scheduler.append(SequenceId(0), 9);
  scheduler.add(tokens(59, 500), 58);
  step = scheduler.next();
  EXPECT_EQ(step.side_by_side, 2);
  ASSERT_EQ(step.batches.size(), 2u);
  EXPECT_EQ(step.batches[0].num_rows(), 30);
  EXPECT_EQ(step.batches[1].num_rows(), 30);
  scheduler.add(tokens(1000, 1000), 999);
  step = scheduler.next();
  ASSERT_EQ(step.batches.size(), 2u);
  EXPECT_EQ(step.batches[0].num_rows() + step.batches[1].num_rows(), 512) << "a chunk may be larger than the row limit";
}

TEST(Scheduler, EqualBeginningsPassOnce) {
  Scheduler scheduler({});
  const auto prompt = tokens(3 * kBlockKeys + 5);
  for (int i = 0; i < 4; ++i) scheduler.add(prompt, std::ssize(prompt) - 1);
  const Step step = scheduler.next();
  ASSERT_EQ(step.batches.size(), 1u);
  EXPECT_EQ(step.batches[0].num_rows(), std::ssize(prompt) + 3 * 5);
  EXPECT_EQ(scheduler.counts().shared_tokens, 3 * 3 * kBlockKeys);
  EXPECT_EQ(scheduler.num_used_blocks(), 3 + 4);
}

TEST(Scheduler, ALongBeginningIsWaitedFor) {
  Scheduler scheduler({1, 1, 64, 256});
  const auto prompt = tokens(10 * kBlockKeys);
  for (int i = 0; i < 3; ++i) scheduler.add(prompt, std::ssize(prompt) - 1);
  std::int64_t num_rows = 0;
  for (int i = 0; i < 20; ++i)
    for (const TokenBatch& batch : scheduler.next().batches) num_rows += batch.num_rows();
  EXPECT_EQ(num_rows, 10 * kBlockKeys + 2 * kBlockKeys) << "the last block's logits are wanted of each";
}

TEST(Scheduler, TheLastTokenOfAScoredSequenceTakesNoRoom) {
  SchedulerOptions options;
  options.blocks_per_group = 2;
  Scheduler scheduler(options);
  scheduler.add_scored(tokens(2 * kBlockKeys + 1), 0);
  EXPECT_EQ(scheduler.next().batches.at(0).num_rows(), 2 * kBlockKeys);
  scheduler.finish(SequenceId(0));
  EXPECT_EQ(scheduler.num_used_blocks(), 0);
}

TEST(Scheduler, RowsAreSharedOutOverTheGroups) {
  Scheduler scheduler({2, 1, 512, 100});
  for (int i = 0; i < 4; ++i) scheduler.add(tokens(300, 1000 * i), 299);
  scheduler.next();
  const Step step = scheduler.next();
  ASSERT_EQ(step.batches.size(), 1u);
  EXPECT_EQ(step.batches[0].num_group_rows[plan::GroupId(0)], step.batches[0].num_group_rows[plan::GroupId(1)]);
}

TEST(Scheduler, TheYoungestGivesWayAndComesBack) {
  SchedulerOptions options;
  options.blocks_per_group = 4;
  Scheduler scheduler(options);
  for (int i = 0; i < 2; ++i) scheduler.add(tokens(kBlockKeys, 1000 * i), kBlockKeys - 1);
  scheduler.next();
  for (std::int64_t drawn = 0; drawn < kBlockKeys; ++drawn) {
    for (int i = 0; i < 2; ++i) scheduler.append(SequenceId(i), 7);
    EXPECT_EQ(scheduler.next().batches[0].num_rows(), 2);
  }
  for (int i = 0; i < 2; ++i) scheduler.append(SequenceId(i), 7);  // both need a third block, there are four
  Step step = scheduler.next();
  EXPECT_EQ(step.released, std::vector{SequenceId(1)});
  EXPECT_EQ(step.batches[0].sequences, std::vector{SequenceId(0)});
  EXPECT_EQ(scheduler.counts().preempted, 1);
  scheduler.finish(SequenceId(0));
  step = scheduler.next();
  ASSERT_EQ(step.batches.size(), 1u);
  // What was left behind of its first blocks is still there, what 0 took is not; logits are asked for of its newest.
  EXPECT_EQ(step.batches[0].sequences.back(), SequenceId(1));
  EXPECT_EQ(step.batches[0].positions.back(), 2 * kBlockKeys);
  EXPECT_EQ(step.batches[0].logit_rows.size(), 1u);
}

TEST(Scheduler, NumbersBeginAnewAndAgeDoesNot) {
  SchedulerOptions options;
  options.blocks_per_group = 1;
  Scheduler scheduler(options, (std::int64_t{1} << 31) - 1);
  const SequenceId older = scheduler.add(tokens(4), 3), younger = scheduler.add(tokens(5), 4);
  EXPECT_EQ(older.value(), std::numeric_limits<std::int32_t>::max());
  EXPECT_EQ(younger, SequenceId(0));
  Step step = scheduler.next();
  EXPECT_EQ(step.grants.at(0).sequence, older);
  EXPECT_EQ(step.batches.at(0).sequences, std::vector(4, older));
  EXPECT_EQ(scheduler.tokens(younger).size(), 5u);
  scheduler.append(older, 7);
  scheduler.finish(older);
  step = scheduler.next();
  EXPECT_EQ(step.released, std::vector{older});
  EXPECT_EQ(step.batches.at(0).sequences, std::vector(5, younger));
}

}  // namespace
}  // namespace moesaic
