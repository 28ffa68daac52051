#include "comm/locality.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "comm/agree.hpp"
#include "comm/report.hpp"
#include "comm/share.hpp"

namespace moesaic::comm {
namespace {

/// "rank 1 on n0".
std::string name_of(std::span<const NodeIdentity> ranks, std::span<const int> world_ranks, int rank) {
  const auto at = static_cast<std::size_t>(rank);
  return fmt::format("rank {} on {}", world_ranks[at], ranks[at].host.data());
}

std::string remedy(const std::string& gds) {
  if (!gds.empty())
    return fmt::format(
        "PMIX_MCA_gds={} is set, which tells ranks wrong things under mpirun when mpirun's own node has no rank: unset "
        "PMIX_MCA_gds",
        gds);
  return "a setting of PMIx or Open MPI (env | grep -E '^(PMIX|OMPI)_MCA_') may be the cause: unset them; or several "
         "nodes have one name";
}

}  // namespace

bool NodeIdentity::may_have_kernel_of(const NodeIdentity& other) const {
  return boot_id == other.boot_id || boot_id[0] == '\0' || other.boot_id[0] == '\0';
}

bool NodeIdentity::shares_memory_with(const NodeIdentity& other) const {
  return may_have_kernel_of(other) && shm_inode != 0 && shm_device == other.shm_device && shm_inode == other.shm_inode;
}

bool NodeIdentity::is_on_node_of(const NodeIdentity& other) const {
  return may_have_kernel_of(other) && (host == other.host || shares_memory_with(other));
}

NodeIdentity own_identity() {
  NodeIdentity own;
  std::string boot_id;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot_id;
  put_text(own.boot_id, boot_id);
  ::gethostname(own.host.data(), own.host.size() - 1);
  struct stat folder {};
  if (::stat("/dev/shm", &folder) == 0) own.shm_device = folder.st_dev, own.shm_inode = folder.st_ino;
  return own;
}

std::string wrong_locality(std::span<const NodeIdentity> ranks, std::span<const std::vector<int>> claims,
                           std::span<const int> world_ranks, const std::string& gds) {
  const auto name = [&](int rank) { return name_of(ranks, world_ranks, rank); };
  constexpr std::size_t kMostNamed = 4;
  std::vector<std::string> wrong;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank)
    for (const int peer : claims[rank]) {
      const auto at = static_cast<std::size_t>(peer);
      const bool apart = !ranks[rank].is_on_node_of(ranks[at]);
      if (!apart && claims[at] == claims[rank]) continue;
      const char* doubt = !apart                               ? ", but not the other way round"
                          : ranks[rank].host == ranks[at].host ? ", which is another machine of that name"
                                                               : "";
      wrong.push_back(fmt::format("{} with {}{}", name(static_cast<int>(rank)), name(peer), doubt));
    }
  if (wrong.empty()) return "";
  std::string list;
  for (std::size_t i = 0; i < std::min(wrong.size(), kMostNamed); ++i) list += (i == 0 ? "" : "; ") + wrong[i];
  if (wrong.size() > kMostNamed) list += fmt::format("; and {} more", wrong.size() - kMostNamed);
  return fmt::format("MPI is wrong about which ranks share a node: it puts together {}. {}", list, remedy(gds));
}

void require_locality(const Communicator& world) {
  // Never freed: where MPI is wrong its ranks do not agree on who is in it, and to free it takes all of them.
  static const auto* const node = new Communicator(world.split_node());
  const std::vector<NodeIdentity> identities = gather_values(world, own_identity());
  const std::vector<std::vector<int>> claims = gather_lists(world, node->world_ranks());
  on_root(world, [&] {
    const char* gds = std::getenv("PMIX_MCA_gds");
    const std::string error = wrong_locality(identities, claims, world.world_ranks(), gds ? gds : "");
    if (!error.empty()) fail("{}", error);
  });
}

bool shares_memory(const Communicator& node) {
  const std::vector<NodeIdentity> identities = gather_values(node, own_identity());
  bool all = true;
  for (const NodeIdentity& rank : identities) all &= node.size() == 1 || rank.shares_memory_with(identities.front());
  return node.min(all) > 0;
}

void require_shared_memory(const Communicator& world) {
  const Communicator node = world.split_node();
  const bool shared = shares_memory(node);
  agree(world, shared
                   ? std::nullopt
                   : std::optional(fmt::format("the ranks of {} see a /dev/shm each, so --dispatch hier cannot share "
                                               "memory: start a node's ranks in one container, or containers with "
                                               "the host's (docker --ipc=host), or give --dispatch flat",
                                               own_identity().host.data())));
}

}  // namespace moesaic::comm
