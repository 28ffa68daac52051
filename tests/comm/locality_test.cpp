#include "comm/locality.hpp"

#include <gmock/gmock.h>

#include "comm/report.hpp"

namespace moesaic::comm {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

NodeIdentity rank_on(const char* host, const char* boot_id, std::uint64_t shm_device) {
  NodeIdentity identity;
  put_text(identity.host, host);
  put_text(identity.boot_id, boot_id);
  identity.shm_device = shm_device, identity.shm_inode = 1;
  return identity;
}

/// What is said of four ranks, of which MPI puts those of one list together.
std::string verdict(const std::vector<NodeIdentity>& ranks, const std::vector<std::vector<int>>& claims,
                    const std::string& gds = "") {
  const std::vector<int> world_ranks = {10, 11, 12, 13};
  return wrong_locality(ranks, claims, world_ranks, gds);
}

const std::vector<NodeIdentity> kTwoNodes = {rank_on("n0", "a", 7), rank_on("n0", "a", 7), rank_on("n1", "b", 7),
                                             rank_on("n1", "b", 7)};

TEST(Locality, RightClaimsPass) {
  EXPECT_EQ(verdict(kTwoNodes, {{0, 1}, {0, 1}, {2, 3}, {2, 3}}), "");
  EXPECT_EQ(verdict(kTwoNodes, {{0}, {1}, {2}, {3}}), "");  // each rank its own node: slow, not wrong
}

TEST(Locality, RanksHostsAndTheCauseAreNamed) {
  EXPECT_THAT(verdict(kTwoNodes, {{0, 2, 3}, {1, 2, 3}, {2, 3}, {2, 3}}, "hash"),
              AllOf(HasSubstr("rank 10 on n0 with rank 12 on n1"), HasSubstr("rank 11 on n0 with rank 13 on n1"),
                    HasSubstr("unset PMIX_MCA_gds"), Not(HasSubstr("more"))));
  EXPECT_THAT(verdict(kTwoNodes, {{0, 1, 2, 3}, {0, 1, 2, 3}, {0, 1, 2, 3}, {0, 1, 2, 3}}),
              AllOf(HasSubstr("and 4 more"), HasSubstr("PMIx or Open MPI"), Not(HasSubstr("PMIX_MCA_gds"))));
}

TEST(Locality, ClaimsThatContradictEachOtherAreWrongOnOneNodeToo) {
  EXPECT_THAT(verdict(kTwoNodes, {{0, 1}, {1}, {2, 3}, {2, 3}}),
              HasSubstr("rank 10 on n0 with rank 11 on n0, but not the other way round"));
}

TEST(Locality, MachinesOfOneNameAreToldApartByTheirKernels) {
  EXPECT_THAT(verdict({rank_on("localhost", "a", 7), rank_on("localhost", "b", 7)}, {{0, 1}, {0, 1}}),
              HasSubstr("another machine of that name"));
}

/// Emulated nodes run under one kernel, and have names and /dev/shm of their own.
TEST(Locality, EmulatedNodesAreNodes) {
  EXPECT_NE(verdict({rank_on("n0", "a", 7), rank_on("n1", "a", 8)}, {{0, 1}, {0, 1}}), "");
}

/// Containers of one machine may have names of their own and share memory all the same, or the other way round.
TEST(Locality, ContainersOfANodeAreOnIt) {
  const NodeIdentity host = rank_on("n0", "a", 7), named = rank_on("c1", "a", 7), apart = rank_on("n0", "a", 8);
  EXPECT_EQ(verdict({host, named, apart}, {{0, 1}, {0, 1}, {2}}), "");
  EXPECT_EQ(verdict({host, apart}, {{0, 1}, {0, 1}}), "");
  EXPECT_TRUE(host.shares_memory_with(named));
  EXPECT_FALSE(host.shares_memory_with(apart));
}

TEST(Locality, WithoutAShmFolderNothingIsShared) {
  NodeIdentity without = rank_on("n0", "a", 0);
  without.shm_inode = 0;
  EXPECT_FALSE(without.shares_memory_with(without));
  EXPECT_TRUE(without.is_on_node_of(without));
}

TEST(Locality, ThisProcessKnowsItsNode) {
  const NodeIdentity own = own_identity();
  EXPECT_EQ(std::string(own.boot_id.data()).size(), 36u);  // a UUID
  EXPECT_STRNE(own.host.data(), "");
  EXPECT_TRUE(own.is_on_node_of(own));
}

}  // namespace
}  // namespace moesaic::comm
