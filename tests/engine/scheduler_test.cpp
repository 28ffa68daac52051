#include "engine/scheduler.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace moesaic {
namespace {

std::vector<Sequence> make_sequences(const std::vector<std::int64_t>& lengths) {
  std::vector<Sequence> sequences;
  for (const auto length : lengths) {
    Sequence& s = sequences.emplace_back();
    s.index = static_cast<std::int32_t>(sequences.size() - 1);
    s.num_prompt = length;
    for (std::int64_t i = 0; i < length; ++i) s.tokens.push_back(static_cast<std::int32_t>(100 * s.index + i + 1));
  }
  return sequences;
}

/// Rows are grouped, positions follow on from each other, the last row of a sequence has logits.
TEST(Scheduler, EveryTokenPassesOnceInOrder) {
  std::mt19937 random(3);
  for (int round = 0; round < 500; ++round) {
    std::vector<std::int64_t> lengths;
    for (int i = 1 + static_cast<int>(random() % 6); i > 0; --i)
      lengths.push_back(1 + static_cast<std::int64_t>(random() % 40));
    auto sequences = make_sequences(lengths);
    const SchedulerOptions options{1 + static_cast<int>(random() % 3), 1 + static_cast<int>(random() % 4),
                                   static_cast<std::int64_t>(random() % 9),
                                   1 + static_cast<std::int64_t>(random() % 30)};
    std::map<std::int32_t, std::int32_t> next;
    std::map<std::int32_t, int> with_logits;
    for (int step = 0; step < 1000; ++step) {
      const auto batches = schedule(sequences, options);
      if (batches.empty()) break;
      for (const TokenBatch& batch : batches) {
        ASSERT_GT(batch.num_rows(), 0);
        ASSERT_EQ(std::ssize(batch.num_group_rows), options.num_groups);
        std::size_t row = 0;
        for (int group = 0; group < options.num_groups; ++group)
          for (std::int64_t i = 0; i < batch.num_group_rows[static_cast<std::size_t>(group)]; ++i, ++row) {
            const auto sequence = batch.sequences[row];
            ASSERT_EQ(sequence % options.num_groups, group);
            ASSERT_EQ(batch.positions[row], next[sequence]++);
            ASSERT_EQ(
                batch.tokens[row],
                sequences[static_cast<std::size_t>(sequence)].tokens[static_cast<std::size_t>(batch.positions[row])]);
          }
        ASSERT_EQ(row, batch.tokens.size());
        for (const auto wanted : batch.logit_rows) ++with_logits[batch.sequences[static_cast<std::size_t>(wanted)]];
      }
    }
    for (const Sequence& s : sequences) {
      EXPECT_EQ(next[s.index], std::ssize(s.tokens));
      EXPECT_EQ(with_logits[s.index], 1);
    }
  }
}

TEST(Scheduler, AChunkMayBeLargerThanTheRowLimit) {
  auto sequences = make_sequences({1500, 20});
  const auto batches = schedule(sequences, {1, 1, 1000, 512});
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(batches[0].num_rows(), 1000);
  const std::int64_t lengths[] = {1500, 20};
  EXPECT_EQ(largest_batch_rows(lengths, 1000), 1000);
  EXPECT_EQ(largest_batch_rows(lengths, 0), 1500);
  EXPECT_EQ(largest_batch_rows(lengths, 7), 512);
}

TEST(Scheduler, DecodingKeepsEveryStageBusy) {
  auto sequences = make_sequences({5, 5, 5, 5});
  SchedulerOptions options{1, 2, 512, 512};
  schedule(sequences, options);
  for (Sequence& s : sequences) s.tokens.push_back(9);
  const auto batches = schedule(sequences, options);
  ASSERT_EQ(batches.size(), 2u);
  EXPECT_EQ(batches[0].num_rows(), 2);
  EXPECT_EQ(batches[1].num_rows(), 2);
  for (Sequence& s : sequences) s.finished = true;
  EXPECT_TRUE(schedule(sequences, options).empty());
}

}  // namespace
}  // namespace moesaic
