#include "start/threads.hpp"

#include <gmock/gmock.h>
#include <sched.h>

#include <algorithm>
#include <barrier>
#include <cstdlib>

#include "base/error.hpp"
#include "base/parallel.hpp"
#include "host/binding.hpp"
#include "host/thread_count.hpp"

namespace moesaic {
namespace {

cpu_set_t mask_here() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  EXPECT_EQ(sched_getaffinity(0, sizeof mask, &mask), 0);
  return mask;
}

/// The masks of the team's threads, each once.
std::vector<cpu_set_t> masks_of_team(int num_threads) {
  std::vector<cpu_set_t> masks(static_cast<std::size_t>(num_threads));
  std::barrier all(num_threads);  // so that no thread takes two
  parallel_for(num_threads, [&](std::int64_t i) {
    all.arrive_and_wait();
    masks[static_cast<std::size_t>(i)] = mask_here();
  });
  return masks;
}

TEST(Threads, ABoundTeamHasAProcessorEachAndAFreeOneTheMaskAgain) {
  const int num_threads = 2, allowed = host::allowed_processors();
  if (allowed < num_threads) GTEST_SKIP() << allowed << " processors";
  const auto self = comm::Communicator::self();

  set_threads(self, num_threads, host::Bind::kCores);
  const auto bound = masks_of_team(num_threads);
  for (const cpu_set_t& mask : bound) EXPECT_EQ(CPU_COUNT(&mask), 1);
  EXPECT_FALSE(CPU_EQUAL(&bound[0], &bound[1]));

  set_threads(self, num_threads, host::Bind::kNone);
  for (const cpu_set_t& mask : masks_of_team(num_threads)) EXPECT_EQ(CPU_COUNT(&mask), allowed);
  make_team({});
}

TEST(Threads, RanksAloneWithTheirMaskHaveAllOfIt) {
  const auto self = comm::Communicator::self();
  EXPECT_EQ(threads_per_rank(self, 3), 3);
  for (const char* variable : {"OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"}) unsetenv(variable);
  EXPECT_EQ(threads_per_rank(self, 0), host::allowed_processors());
  for (const int ranks : {1, 2, 3, 64})  // with the same mask
    EXPECT_EQ(host::threads_per_rank(0, ranks, 0), std::max(1, host::allowed_processors() / ranks));
  for (const double quota : {0.5, 1.0, 1.5, 1.99})  // whole processors of it
    EXPECT_EQ(host::threads_per_rank(0, 1, quota), 1);
  EXPECT_EQ(host::threads_per_rank(0, 1, 1e6), host::allowed_processors());
  EXPECT_EQ(host::threads_per_rank(3, 1, 0.5), 3);
}

TEST(Threads, TooManyAreWarnedOf) {
  const auto self = comm::Communicator::self();
  const int allowed = host::allowed_processors();
  EXPECT_THAT(set_threads(self, allowed).warnings, testing::IsEmpty());
  EXPECT_THAT(set_threads(self, allowed + 1).warnings,
              testing::ElementsAre(testing::StartsWith(fmt::format("{} threads on {} proc", allowed + 1, allowed))));
  make_team({});
}

TEST(Threads, RefusedBindingsAreCounted) {
  host::Placement nowhere;
  nowhere.threads = {{.number = 4095}};  // which no machine has
  host::use(nowhere);
  EXPECT_FALSE(host::bind_thread(0));
  EXPECT_EQ(host::refused().threads, 1);
  host::use({});
  EXPECT_EQ(host::refused().threads, 0);
}

}  // namespace
}  // namespace moesaic
