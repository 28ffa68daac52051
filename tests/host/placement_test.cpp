#include "host/placement.hpp"

#include <gmock/gmock.h>

#include "base/error.hpp"

namespace moesaic::host {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

/// A machine whose second hardware threads are numbered after all cores, as Linux does; in hwloc's order.
std::vector<Processor> machine_of(int num_domains, int cores_per_domain, int threads_per_core) {
  std::vector<Processor> machine;
  const int num_cores = num_domains * cores_per_domain;
  for (int core = 0; core < num_cores; ++core)
    for (int thread = 0; thread < threads_per_core; ++thread)
      machine.push_back({thread * num_cores + core, core, core / cores_per_domain});
  return machine;
}

ProcessorSet mask_of(int first, int size) {
  ProcessorSet mask;
  for (int i = 0; i < size; ++i) mask.set(static_cast<std::size_t>(first + i));
  return mask;
}

ProcessorSet whole(const std::vector<Processor>& machine) {
  ProcessorSet mask;
  for (const Processor& processor : machine) mask.set(static_cast<std::size_t>(processor.number));
  return mask;
}

std::vector<Placement> place_all(const std::vector<Processor>& machine, const std::vector<NodeRank>& ranks,
                                 Bind bind = Bind::kAuto) {
  std::vector<Placement> placements;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) placements.push_back(place(machine, ranks, rank, bind));
  return placements;
}

/// The same for ranks that nobody has bound.
std::vector<Placement> place_free(const std::vector<Processor>& machine, int num_ranks, int num_threads,
                                  Bind bind = Bind::kAuto) {
  return place_all(machine, std::vector<NodeRank>(static_cast<std::size_t>(num_ranks), {whole(machine), num_threads}),
                   bind);
}

std::vector<int> numbers(const Placement& placement) {
  std::vector<int> numbers;
  for (const Processor& processor : placement.threads) numbers.push_back(processor.number);
  return numbers;
}

TEST(Placement, AWholeMachineIsBoundOnlyWhenItIsFilled) {
  const auto machine = machine_of(1, 4, 1);
  for (const auto& [num_ranks, num_threads] : {std::pair(1, 4), {2, 2}, {4, 1}})
    EXPECT_THAT(describe(place_free(machine, num_ranks, num_threads)), HasSubstr("bound to processors"));
  for (const auto& [num_ranks, num_threads] : {std::pair(1, 1), {1, 3}, {3, 1}, {2, 4}, {5, 1}})
    EXPECT_EQ(describe(place_free(machine, num_ranks, num_threads)),
              fmt::format("not bound ({} rank{} x {} thread{} on 4 processors)", num_ranks, num_ranks == 1 ? "" : "s",
                          num_threads, num_threads == 1 ? "" : "s"));
}

TEST(Placement, RanksLieSideBySide) {
  const auto placements = place_free(machine_of(1, 4, 1), 2, 2);
  EXPECT_THAT(numbers(placements[0]), ElementsAre(0, 1));
  EXPECT_THAT(numbers(placements[1]), ElementsAre(2, 3));
  EXPECT_EQ(describe(placements), "2 threads a rank bound to processors 0-1 | 2-3 (NUMA 0)");
}

TEST(Placement, ThreadsOfARankAreInOneDomain) {
  const auto machine = machine_of(2, 64, 2);
  EXPECT_EQ(describe(place_free(machine, 2, 64)), "64 threads a rank bound to processors 0-63 | 64-127 (NUMA 0 | 1)");
  EXPECT_EQ(describe(place_free(machine, 1, 128)), "128 threads a rank bound to processors 0-127 (NUMA 0-1)");
  // With a thread for every hardware thread, a rank has both of a core.
  EXPECT_EQ(describe(place_free(machine, 2, 128)),
            "128 threads a rank bound to processors 0-63,128-191 | 64-127,192-255 (NUMA 0 | 1)");
  EXPECT_EQ(describe(place_free(machine, 4, 16)), "not bound (4 ranks x 16 threads on 256 processors)");
  EXPECT_EQ(describe(place_free(machine, 2, 16, Bind::kCores)),
            "16 threads a rank bound to processors 0-15 | 64-79 (NUMA 0 | 1)");
}

TEST(Placement, EachThreadHasACoreToItselfWhileThereAreSome) {
  const auto machine = machine_of(1, 4, 2);
  EXPECT_THAT(numbers(place_free(machine, 1, 3, Bind::kCores)[0]), ElementsAre(0, 1, 2));
  EXPECT_THAT(numbers(place_free(machine, 1, 6, Bind::kCores)[0]), ElementsAre(0, 1, 2, 3, 4, 5));
  const auto placements = place_free(machine, 2, 3, Bind::kCores);
  EXPECT_THAT(numbers(placements[0]), ElementsAre(0, 1, 4));
  EXPECT_THAT(numbers(placements[1]), ElementsAre(2, 3, 6));
}

TEST(Placement, ALaunchersMaskIsUsedAndFewerThreadsNeedNotFillIt) {
  const auto machine = machine_of(2, 64, 1);
  const std::vector<NodeRank> ranks = {{mask_of(8, 8), 8}, {mask_of(64, 8), 4}};
  const auto placements = place_all(machine, ranks);
  EXPECT_THAT(numbers(placements[0]), ElementsAre(8, 9, 10, 11, 12, 13, 14, 15));
  EXPECT_THAT(numbers(placements[1]), ElementsAre(64, 65, 66, 67));
  EXPECT_EQ(describe(placements), "8 | 4 threads a rank bound to processors 8-15 | 64-67 (NUMA 0 | 1)");
}

TEST(Placement, RanksWithOneMaskShareItOut) {
  const auto machine = machine_of(1, 16, 1);
  const auto placements = place_all(machine, {{mask_of(4, 8), 2}, {mask_of(4, 8), 4}, {mask_of(12, 4), 4}});
  EXPECT_THAT(numbers(placements[0]), ElementsAre(4, 5));
  EXPECT_THAT(numbers(placements[1]), ElementsAre(6, 7, 8, 9));
  EXPECT_THAT(numbers(placements[2]), ElementsAre(12, 13, 14, 15));
  for (const Placement& placement : placements) EXPECT_TRUE(placement.processor_each);
}

TEST(Placement, OneProcessorForAllRanksBindsNone) {
  const auto machine = machine_of(1, 4, 1);
  for (const Placement& placement : place_all(machine, {{mask_of(0, 1), 1}, {mask_of(0, 1), 1}})) {
    EXPECT_THAT(placement.threads, IsEmpty());
    EXPECT_FALSE(placement.processor_each);
  }
  const auto narrow = place_all(machine, {{mask_of(2, 1), 2}});
  EXPECT_EQ(describe(narrow), "not bound (1 rank x 2 threads on 1 processor)");
}

TEST(Placement, MasksThatOverlapBindNone) {
  const auto placements = place_all(machine_of(1, 8, 1), {{mask_of(0, 4), 2}, {mask_of(2, 4), 2}, {mask_of(6, 2), 2}});
  EXPECT_THAT(placements[0].threads, IsEmpty());
  EXPECT_THAT(placements[1].threads, IsEmpty());
  EXPECT_FALSE(placements[0].processor_each);
  EXPECT_THAT(numbers(placements[2]), ElementsAre(6, 7));
  EXPECT_EQ(describe(placements), "2 threads a rank bound to processors none | none | 6-7 (NUMA 0)");
}

TEST(Placement, CoresGivesRanksWhoseMasksOverlapDistinctProcessors) {
  const auto machine = machine_of(1, 8, 1);
  const auto placements =
      place_all(machine, {{mask_of(0, 4), 4}, {mask_of(0, 8), 2}, {mask_of(2, 4), 2}}, Bind::kCores);
  EXPECT_THAT(numbers(placements[0]), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(numbers(placements[1]), ElementsAre(6, 7));  // moved aside
  EXPECT_THAT(numbers(placements[2]), ElementsAre(4, 5));
  for (const Placement& placement : placements) {
    EXPECT_TRUE(placement.processor_each);
    EXPECT_THAT(placement.shared, IsEmpty());
  }
}

TEST(Placement, CoresTakesFirstThreadsOfCoresFirstWhenMasksOverlap) {
  const auto machine = machine_of(1, 4, 2);  // processors 4 to 7 are the second threads
  const ProcessorSet all = whole(machine);
  const auto placements = place_all(machine, {{all, 2}, {all & ~mask_of(0, 1), 2}}, Bind::kCores);
  EXPECT_THAT(numbers(placements[0]), ElementsAre(0, 1));
  EXPECT_THAT(numbers(placements[1]), ElementsAre(2, 3));
}

TEST(Placement, ProcessorsThatMustBeSharedAreNamed) {
  const auto placements = place_all(machine_of(1, 4, 1), {{mask_of(0, 2), 2}, {mask_of(1, 2), 2}}, Bind::kCores);
  EXPECT_THAT(numbers(placements[0]), ElementsAre(0, 1));
  EXPECT_THAT(numbers(placements[1]), ElementsAre(1, 2));
  for (const Placement& placement : placements) {
    EXPECT_FALSE(placement.processor_each);
    ASSERT_EQ(placement.shared.size(), 1u);
    EXPECT_EQ(placement.shared[0].number, 1);
  }
  // Not one entry for both.
  const std::vector<Placement> same(2, placements[0]);
  EXPECT_EQ(describe(same), "2 threads a rank bound to processors 0-1 | 0-1 (NUMA 0)");
}

TEST(Threads, RanksWithOneMaskAreCounted) {
  const std::vector<NodeRank> ranks = {{mask_of(0, 4), 1}, {mask_of(0, 4), 1}, {mask_of(2, 4), 1}};
  EXPECT_EQ(num_with_mask(ranks, 0), 2);
  EXPECT_EQ(num_with_mask(ranks, 1), 2);
  EXPECT_EQ(num_with_mask(ranks, 2), 1);
}

TEST(Threads, MoreThreadsThanProcessorsAreWarnedOf) {
  const auto machine = machine_of(1, 8, 1);
  const auto warning = [&](const std::vector<NodeRank>& ranks, std::size_t me) { return crowding(machine, ranks, me); };
  EXPECT_EQ(warning({{mask_of(0, 4), 4}, {mask_of(4, 4), 4}}, 0), "");
  EXPECT_EQ(warning({{whole(machine), 4}, {whole(machine), 4}}, 1), "");
  EXPECT_EQ(warning({{whole(machine), 16}}, 0), "16 threads on 8 processors; give fewer --threads");
  EXPECT_EQ(warning({{whole(machine), 5}, {whole(machine), 4}}, 0),
            "9 threads of 2 ranks on 8 processors; give fewer --threads or ranks");
  EXPECT_EQ(warning({{mask_of(3, 1), 2}}, 0),
            "2 threads on 1 processor; give fewer --threads, or more cpus per task, or bind with --bind-to none");
  const std::vector<NodeRank> two = {{mask_of(0, 4), 4}, {mask_of(0, 4), 4}, {mask_of(4, 4), 4}};
  EXPECT_THAT(warning(two, 1),
              HasSubstr("8 threads of 2 ranks on 4 processors; give fewer --threads or ranks, or more cpus"));
  EXPECT_EQ(warning(two, 2), "");
  // Masks that overlap: each has enough, both together do not.
  const std::vector<NodeRank> overlapping = {{mask_of(0, 4), 3}, {mask_of(2, 4), 4}};
  EXPECT_THAT(warning(overlapping, 0), HasSubstr("7 threads of 2 ranks on 6 processors"));
  // The ranks inside one of the masks are too many; the other rank has processors beside.
  const std::vector<NodeRank> inside = {{mask_of(0, 2), 2}, {mask_of(0, 2), 2}, {mask_of(0, 8), 2}};
  EXPECT_THAT(warning(inside, 0), HasSubstr("4 threads of 2 ranks on 2 processors"));
  EXPECT_EQ(warning(inside, 2), "");
}

TEST(Threads, ACpuQuotaIsSharedByTheRanksOfItsGroup) {
  const ProcessorSet mask = mask_of(0, 4);
  const CpuQuota half{0.5, 1}, three{3, 2};
  EXPECT_EQ(quota_share(std::vector<NodeRank>{{mask, 1}}, 0), 0);
  EXPECT_EQ(quota_crowding(std::vector<NodeRank>{{mask, 8}}, 0), "");
  EXPECT_THAT(quota_crowding(std::vector<NodeRank>{{mask, 1, half}}, 0),
              HasSubstr("1 thread of 1 rank under a CPU quota of 0.5 processors"));
  // Two ranks in one group, one in another.
  const std::vector<NodeRank> ranks = {{mask, 2, three}, {mask, 1, three}, {mask, 4, {4, 3}}};
  EXPECT_EQ(quota_share(ranks, 0), 1.5);
  EXPECT_EQ(quota_share(ranks, 2), 4);
  for (std::size_t rank = 0; rank < 3; ++rank) EXPECT_EQ(quota_crowding(ranks, rank), "");
  const std::vector<NodeRank> crowded = {{mask, 2, three}, {mask, 2, three}, {mask, 4, {4, 3}}};
  EXPECT_THAT(quota_crowding(crowded, 1), HasSubstr("4 threads of 2 ranks under a CPU quota of 3 processors"));
  EXPECT_EQ(quota_crowding(crowded, 2), "");
}

TEST(Placement, AControlGroupsProcessorsAreTheMachine) {
  auto machine = machine_of(2, 8, 1);
  machine.erase(machine.begin(), machine.begin() + 6);  // 6-7 of domain 0, all of domain 1
  EXPECT_EQ(describe(place_free(machine, 2, 5)), "5 threads a rank bound to processors 6-10 | 11-15 (NUMA 0-1 | 1)");
  EXPECT_EQ(describe(place_free(machine, 2, 4)), "not bound (2 ranks x 4 threads on 10 processors)");
}

TEST(Placement, NoneBindsNoneAndStillKnowsWhetherWaitingMaySpin) {
  const auto machine = machine_of(1, 4, 1);
  const auto fits = place_free(machine, 2, 2, Bind::kNone), many = place_free(machine, 3, 2, Bind::kNone);
  EXPECT_EQ(describe(fits), "not bound (--bind none)");
  EXPECT_TRUE(fits[0].processor_each);
  EXPECT_FALSE(many[0].processor_each);
}

TEST(Placement, CoresWithoutTheProcessorsIsAnError) {
  try {
    place_free(machine_of(1, 2, 1), 3, 1, Bind::kCores);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("3 ranks x 1 thread on 2 processors; give fewer --threads"));
  }
}

TEST(Placement, OfManyRanksTheFirstAreListed) {
  const std::string text = describe(place_free(machine_of(1, 100, 1), 100, 1));
  EXPECT_THAT(text, StartsWith("1 thread a rank bound to processors 0 | 1 | 2"));
  EXPECT_THAT(text, HasSubstr("| 31 | ... (NUMA 0)"));
}

}  // namespace
}  // namespace moesaic::host
