#include "engine/threads.hpp"

#include <cstring>
#include <type_traits>
#include <vector>

#include "base/error.hpp"
#include "base/parallel.hpp"
#include "device/binding.hpp"
#include "ops/kernels.hpp"

namespace moesaic {
namespace {

/// What every rank of the node says of itself, on each of them.
std::vector<device::NodeRank> exchange(const comm::Communicator& node, const device::NodeRank& own) {
  static_assert(std::is_trivially_copyable_v<device::NodeRank>);
  std::vector<std::byte> all;
  for (const auto& bytes : node.gather(std::as_bytes(std::span(&own, 1)), 0))
    all.insert(all.end(), bytes.begin(), bytes.end());
  node.broadcast(all, 0);
  std::vector<device::NodeRank> ranks(static_cast<std::size_t>(node.size()));
  MOESAIC_CHECK(all.size() == ranks.size() * sizeof own, "{} bytes of {} ranks", all.size(), ranks.size());
  std::memcpy(ranks.data(), all.data(), all.size());
  return ranks;
}

void start_thread(int thread) {
  ops::flush_denormals();
  device::bind_thread(thread);
}

}  // namespace

std::string set_threads(const comm::Communicator& node, int num_threads, device::Bind bind) {
  const std::vector<device::NodeRank> ranks = exchange(node, {device::initial_mask(), num_threads});
  std::vector<device::Placement> placements;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank)
    placements.push_back(device::place(device::processors(), ranks, rank, bind));
  const device::Placement& own = placements[static_cast<std::size_t>(node.rank())];

  make_team({});  // the threads there were look at the placement in use
  device::use(own);
  const bool bound = device::bind_thread(0);
  make_team({.num_threads = num_threads, .spin = own.processor_each, .at_start = start_thread});
  ops::flush_denormals();
  return bound || own.threads.empty() ? device::describe(placements) : "not bound (the system refuses it)";
}

}  // namespace moesaic
