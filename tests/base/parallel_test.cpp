#include "base/parallel.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>

namespace moesaic {
namespace {

/// More threads than any machine of ours has cores, active and passive waiting.
class TeamTest : public testing::TestWithParam<TeamOptions> {
 protected:
  void SetUp() override { make_team(GetParam()); }
  void TearDown() override { make_team({}); }
};

INSTANTIATE_TEST_SUITE_P(Teams, TeamTest,
                         testing::Values(TeamOptions{1, false, {}}, TeamOptions{2, false, {}}, TeamOptions{2, true, {}},
                                         TeamOptions{7, false, {}}, TeamOptions{33, true, {}}));

TEST_P(TeamTest, EveryItemIsDoneOnceInRangesOfTheRightSize) {
  for (const std::int64_t num_items : {0, 1, 2, 3, 64, 1000})
    for (const std::int64_t most_items : {1, 3, 2000}) {
      std::vector<std::atomic<int>> done(static_cast<std::size_t>(num_items));
      std::atomic<bool> too_many = false;
      parallel_ranges(num_items, most_items, [&](Range range) {
        if (range.empty() || range.size() > most_items) too_many = true;
        for (std::int64_t i = range.begin; i < range.end; ++i) ++done[static_cast<std::size_t>(i)];
      });
      EXPECT_FALSE(too_many);
      for (const auto& times : done) EXPECT_EQ(times, 1);
    }
}

TEST_P(TeamTest, WhatALoopWroteIsSeenAfterIt) {
  constexpr std::int64_t kItems = 64;
  std::vector<std::int64_t> values(kItems);  // not atomic: the end of a loop orders
  for (std::int64_t pass = 1; pass <= 20000; ++pass) {
    parallel_for(kItems, 8, [&](std::int64_t i) { values[static_cast<std::size_t>(i)] += i * pass; });
    ASSERT_EQ(values[1], pass * (pass + 1) / 2);
  }
  for (std::int64_t i = 0; i < kItems; ++i) EXPECT_EQ(values[static_cast<std::size_t>(i)], i * values[1]);
}

TEST_P(TeamTest, ALoopInALoopIsItsThreadsOwn) {
  std::atomic<int> done = 0;
  EXPECT_EQ(num_threads(), GetParam().num_threads);
  parallel_for(20, [&](std::int64_t) {
    const auto here = std::this_thread::get_id();
    parallel_for(10, [&](std::int64_t) { done += std::this_thread::get_id() == here ? 1 : 0; });
    if (GetParam().num_threads > 1) {
      EXPECT_EQ(num_threads(), 1);
    }
  });
  EXPECT_EQ(done, 200);
  EXPECT_EQ(num_threads(), GetParam().num_threads);
}

TEST_P(TeamTest, TheFirstExceptionIsThrownAndTheTeamGoesOn) {
  for (int pass = 0; pass < 200; ++pass) {
    std::atomic<int> done = 0;
    const auto fails = [&](std::int64_t i) {
      if (i == 17) throw std::runtime_error("seventeen");
      ++done;
    };
    EXPECT_THROW(parallel_for(1000, fails), std::runtime_error);
    EXPECT_LT(done, 1000);
    done = 0;
    parallel_for(50, [&](std::int64_t) { ++done; });
    EXPECT_EQ(done, 50);
  }
}

TEST_P(TeamTest, ThreadsThatFellAsleepComeBack) {
  for (int pass = 0; pass < 5; ++pass) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::atomic<int> done = 0;
    parallel_for(100, [&](std::int64_t) { ++done; });
    EXPECT_EQ(done, 100);
  }
}

}  // namespace
}  // namespace moesaic
