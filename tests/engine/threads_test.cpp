#include "engine/threads.hpp"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <barrier>

#include "base/parallel.hpp"
#include "device/binding.hpp"
#include "device/machine.hpp"

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
  const int num_threads = 2, allowed = device::allowed_processors();
  if (allowed < num_threads) GTEST_SKIP() << allowed << " processors";
  const auto self = comm::Communicator::self();

  set_threads(self, num_threads, device::Bind::kCores);
  const auto bound = masks_of_team(num_threads);
  for (const cpu_set_t& mask : bound) EXPECT_EQ(CPU_COUNT(&mask), 1);
  EXPECT_FALSE(CPU_EQUAL(&bound[0], &bound[1]));

  set_threads(self, num_threads, device::Bind::kNone);
  for (const cpu_set_t& mask : masks_of_team(num_threads)) EXPECT_EQ(CPU_COUNT(&mask), allowed);
  make_team({});
}

}  // namespace
}  // namespace moesaic
