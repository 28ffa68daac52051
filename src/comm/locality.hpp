#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "comm/mpi.hpp"

/// Whether ranks that MPI takes for ranks of one node are: MPI believes its launcher, and launchers have been wrong.
namespace moesaic::comm {

/// What a rank tells its node from others by: plain data, sent to other ranks as it is.
struct NodeIdentity {
  std::array<char, 40> boot_id{};  ///< of the running kernel, which gets a new one at each start; empty: unknown
  std::array<char, 64> host{};
  std::uint64_t shm_device = 0;  ///< of the folder /dev/shm, with its inode unique to a running kernel
  std::uint64_t shm_inode = 0;   ///< 0: there is no such folder

  /// Whether both may run under the same kernel: an unknown boot id is no evidence against it.
  bool may_have_kernel_of(const NodeIdentity& other) const;
  /// Whether both see one and the same /dev/shm, and so can share memory.
  bool shares_memory_with(const NodeIdentity& other) const;
  /// Whether both are on one node: under the same kernel, and of one host name or at least one /dev/shm (containers of
  /// a node may have names of their own, emulated nodes have both apart).
  bool is_on_node_of(const NodeIdentity& other) const;
};
NodeIdentity own_identity();

/// What is wrong when MPI says that rank r of a communicator shares a node with the ranks claims[r], and the remedy;
/// empty: nothing. Ranks are named by world_ranks. gds: the value of PMIX_MCA_gds, empty when it is not set.
std::string wrong_locality(std::span<const NodeIdentity> ranks, std::span<const std::vector<int>> claims,
                           std::span<const int> world_ranks, const std::string& gds);

/// Collective: Error on all ranks when MPI is wrong about which ranks share a node. Once for a job, before any use of
/// Communicator::split_node().
void require_locality(const Communicator& world);

/// Collective over a node's ranks: whether all of them see one and the same /dev/shm. Containers of one node may have
/// one each.
bool shares_memory(const Communicator& node);

/// Collective over `world`: Error on all ranks when the ranks of a node cannot share memory, as --dispatch hier needs
/// it.
void require_shared_memory(const Communicator& world);

}  // namespace moesaic::comm
