#include "measure/link_costs.hpp"

#include <sched.h>

#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "host/binding.hpp"
#include "measure/limits.hpp"

namespace moesaic::measure {
namespace {

using plan::LinkClass;
using Pair = std::pair<int, int>;
using Clock = std::chrono::steady_clock;

constexpr int kTag = 9;  // each message ends, or the job does with a diagnosis: what is measured may not work
constexpr std::size_t kLong_bytes = std::size_t{1} << 20;

double elapsed_us(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

}  // namespace

double ping_pong_us(const comm::Communicator& world, int a, int b, std::size_t size_bytes, int round_trips,
                    int num_samples) {
  std::vector<std::byte> bytes(size_bytes);
  const bool first = world.rank() == a;
  if (!first && world.rank() != b) return 0;
  const int other = first ? b : a;
  std::vector<double> samples;
  for (int sample = -1; sample < num_samples; ++sample) {
    const auto start = Clock::now();
    for (int i = 0; i < round_trips; ++i) {
      if (first) comm::send(world, bytes, other, kTag);
      comm::receive(world, bytes, other, kTag);
      if (!first) comm::send(world, bytes, other, kTag);
    }
    if (sample >= 0) samples.push_back(elapsed_us(start) / (2 * round_trips));
  }
  return statistics(samples).median;
}

namespace {

/// Microseconds that each of many small messages takes their sender.
double message_us(const comm::Communicator& world, const Pair& pair) {
  constexpr int kSamples = 31, kMessages = 64;
  const bool first = world.rank() == pair.first;
  if (!first && world.rank() != pair.second) return 0;
  const int other = first ? pair.second : pair.first;
  std::vector<std::byte> bytes(8);
  std::vector<MPI_Request> requests(kMessages);
  std::vector<double> samples;
  for (int sample = 0; sample < kSamples; ++sample) {
    const auto start = Clock::now();
    if (first) {
      for (MPI_Request& request : requests)
        MOESAIC_MPI(MPI_Isend(bytes.data(), 8, MPI_BYTE, other, kTag, world.handle(), &request));
      MOESAIC_MPI(MPI_Waitall(kMessages, requests.data(), MPI_STATUSES_IGNORE));
      samples.push_back(elapsed_us(start) / kMessages);
      comm::receive(world, bytes, other, kTag);
    } else {
      for (int i = 0; i < kMessages; ++i) comm::receive(world, bytes, other, kTag);
      comm::send(world, bytes, other, kTag);
      samples.push_back(0);
    }
  }
  return statistics(samples).median;
}

/// Pairs of ranks of a class, each rank in one at most.
std::vector<Pair> pairs_of(const RankSites& sites, LinkClass link) {
  std::vector<Pair> pairs;
  std::vector<char> taken(sites.node.size());
  for (std::size_t a = 0; a < taken.size(); ++a)
    for (std::size_t b = a + 1; b < taken.size() && !taken[a]; ++b)
      if (!taken[b] && sites.between(static_cast<int>(a), static_cast<int>(b)) == link) {
        pairs.emplace_back(a, b);
        taken[a] = taken[b] = 1;
      }
  return pairs;
}

/// GB/s that a rank sends while every pair exchanges long messages both ways.
double shared_gbps(const comm::Communicator& world, const std::vector<Pair>& pairs) {
  constexpr int kSamples = 9, kRounds = 4;
  std::optional<int> other;
  for (const auto& [a, b] : pairs) {
    if (world.rank() == a) other = b;
    if (world.rank() == b) other = a;
  }
  std::vector<std::byte> out(kLong_bytes), in(kLong_bytes);
  const int count = static_cast<int>(kLong_bytes);
  std::vector<double> samples;
  for (int sample = -1; sample < kSamples; ++sample) {
    const double seconds = timed_together(world, [&] {
      for (int i = 0; other && i < kRounds; ++i)
        MOESAIC_MPI(MPI_Sendrecv(out.data(), count, MPI_BYTE, *other, kTag, in.data(), count, MPI_BYTE, *other, kTag,
                                 world.handle(), MPI_STATUS_IGNORE));
    });
    if (sample >= 0) samples.push_back(static_cast<double>(kLong_bytes) * kRounds / seconds * 1e-9);
  }
  return statistics(samples).median;
}

plan::LinkCost measure(const comm::Communicator& world, const std::vector<Pair>& pairs) {
  constexpr int kSmallTrips = 200, kLongTrips = 4, kSamples = 9;
  const auto [a, b] = pairs.front();
  plan::LinkCost link;
  link.measured = true;
  world.barrier();
  link.latency_us = world.max(ping_pong_us(world, a, b, 8, kSmallTrips, kSamples));
  const double long_us = world.max(ping_pong_us(world, a, b, kLong_bytes, kLongTrips, kSamples));
  // Where something held the short ones up, they may seem to take longer than a long one.
  link.latency_us = std::min(link.latency_us, long_us / 2);
  link.message_us = std::min(world.max(message_us(world, pairs.front())), link.latency_us);
  link.stream_gbps = static_cast<double>(kLong_bytes) / (long_us - link.latency_us) * 1e-3;
  link.shared_gbps = shared_gbps(world, pairs);
  return link;
}

/// Copies inside a rank, of buffers that the caches hold in part.
plan::LinkCost measure_copies(const comm::Communicator& world) {
  constexpr int kSamples = 31;
  std::vector<std::byte> from(kLong_bytes), to(kLong_bytes);
  std::vector<double> rates;
  for (int sample = -2; sample < kSamples; ++sample) {
    const auto start = Clock::now();
    std::memcpy(to.data(), from.data(), kLong_bytes);
    from[0] = to[kLong_bytes - 1];
    if (sample >= 0) rates.push_back(static_cast<double>(kLong_bytes) / elapsed_us(start) * 1e-3);
  }
  const double gbps = world.sum(statistics(rates).median) / world.size();
  return {0, 0, gbps, gbps, true};
}

int most_equal(const std::vector<Pair>& keys) {
  std::map<Pair, int> ranks;
  int most = 1;
  for (const Pair& key : keys) most = std::max(most, ++ranks[key]);
  return most;
}

}  // namespace

LinkClass RankSites::between(int a, int b) const {
  const auto i = static_cast<std::size_t>(a), j = static_cast<std::size_t>(b);
  if (a == b) return LinkClass::kSelf;
  if (node[i] != node[j]) return LinkClass::kNetwork;
  return numa[i] == numa[j] ? LinkClass::kNuma : LinkClass::kNode;
}

plan::RankPlacement RankSites::placement() const {
  std::vector<Pair> nodes, domains;
  for (std::size_t rank = 0; rank < node.size(); ++rank) {
    nodes.emplace_back(node[rank], 0);
    domains.emplace_back(node[rank], numa[rank]);
  }
  return {most_equal(nodes), most_equal(domains)};
}

RankSites rank_sites(const comm::Communicator& world) {
  const comm::Communicator node = world.split_node();
  const int processor = ::sched_getcpu();
  int own[2] = {node.world_ranks().front(), 0};
  for (const host::Processor& p : host::processors())
    if (p.number == processor) own[1] = p.domain;
  std::vector<int> all(2 * static_cast<std::size_t>(world.size()));
  MOESAIC_MPI(MPI_Allgather(own, 2, MPI_INT, all.data(), 2, MPI_INT, world.handle()));
  RankSites sites;
  for (std::size_t i = 0; i < all.size(); i += 2) {
    sites.node.push_back(all[i]);
    sites.numa.push_back(all[i + 1]);
  }
  return sites;
}

void measure_links(const comm::Communicator& world, const RankSites& sites, const plan::Machine& fallback,
                   plan::Machine& machine) {
  machine.links = fallback.links;
  for (plan::LinkCost& link : machine.links) link.measured = false;
  machine.link(LinkClass::kSelf) = measure_copies(world);
  for (const LinkClass link : {LinkClass::kNuma, LinkClass::kNode, LinkClass::kNetwork})
    if (const auto pairs = pairs_of(sites, link); !pairs.empty()) machine.link(link) = measure(world, pairs);
  const auto take_over = [&](LinkClass missing, LinkClass present) {
    if (machine.link(missing).measured || !machine.link(present).measured) return;
    machine.link(missing) = machine.link(present);
    machine.link(missing).measured = false;
  };
  take_over(LinkClass::kNuma, LinkClass::kNode);
  take_over(LinkClass::kNode, LinkClass::kNuma);
}

}  // namespace moesaic::measure
