#include "apps/doctor/peers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <map>
#include <set>

#include "comm/exchange.hpp"
#include "comm/share.hpp"
#include "comm/watch.hpp"
#include "measure/link_costs.hpp"

namespace moesaic::apps::doctor {
namespace {

constexpr std::size_t kMostPeers = 16;

/// For each rank of the world the lowest rank of its node, on all ranks.
std::vector<int> nodes_of(const comm::Communicator& world, const comm::Communicator& node) {
  std::vector<double> nodes(static_cast<std::size_t>(world.size()));
  nodes[static_cast<std::size_t>(world.rank())] = node.world_ranks().front();
  world.reduce(nodes, MPI_SUM);
  return {nodes.begin(), nodes.end()};
}

std::vector<int> some_of(const std::vector<int>& all) {
  std::vector<int> some;
  const std::size_t count = std::min(all.size(), kMostPeers);
  for (std::size_t i = 0; i < count; ++i) some.push_back(all[i * all.size() / count]);
  return some;
}

using Round = std::vector<std::pair<int, int>>;

/// Rounds of pairs in which every rank is in one pair at most, until each has met each other once: a tournament.
std::vector<Round> rounds_of(std::vector<int> ranks) {
  constexpr int kNobody = -1;
  if (ranks.size() % 2 == 1) ranks.push_back(kNobody);
  std::vector<Round> rounds;
  for (std::size_t round = 0; round + 1 < ranks.size(); ++round) {
    rounds.emplace_back();
    for (std::size_t i = 0; i < ranks.size() / 2; ++i)
      if (const auto [a, b] = std::minmax(ranks[i], ranks[ranks.size() - 1 - i]); a != kNobody)
        rounds.back().emplace_back(a, b);
    std::rotate(ranks.begin() + 1, ranks.end() - 1, ranks.end());
  }
  return rounds;
}

/// All rounds of the job: between nodes first, then inside all nodes at once.
std::vector<Round> all_rounds(const std::vector<int>& nodes) {
  std::map<int, std::vector<int>> members;
  for (std::size_t rank = 0; rank < nodes.size(); ++rank) members[nodes[rank]].push_back(static_cast<int>(rank));
  std::vector<int> leaders;
  for (const auto& [leader, ranks] : members) leaders.push_back(leader);
  std::vector<Round> rounds = rounds_of(some_of(leaders));
  const std::size_t first = rounds.size();
  // Of several nodes two ranks each, of one node more: what a node's memory does is the same for all of them.
  for (const auto& [leader, ranks] : members) {
    const std::vector<int> some =
        members.size() == 1
            ? some_of(ranks)
            : std::vector(ranks.begin(),
                          ranks.begin() + std::min<std::ptrdiff_t>(2, static_cast<std::ptrdiff_t>(ranks.size())));
    const std::vector<Round> inside = rounds_of(some);
    rounds.resize(std::max(rounds.size(), first + inside.size()));
    for (std::size_t i = 0; i < inside.size(); ++i)
      rounds[first + i].insert(rounds[first + i].end(), inside[i].begin(), inside[i].end());
  }
  return rounds;
}

double now_s() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

void send_value(const comm::Communicator& world, double value, int to, int tag) {
  comm::send(world, std::as_bytes(std::span(&value, 1)), to, tag);
}

double receive_value(const comm::Communicator& world, int from, int tag) {
  double value = 0;
  comm::receive(world, std::as_writable_bytes(std::span(&value, 1)), from, tag);
  return value;
}

/// Offset of the other rank's clock, from the quickest of several questions and answers.
ClockOffset ask_clock(const comm::Communicator& world, int other, int tag, int num_questions) {
  ClockOffset clock{comm::hosts()[static_cast<std::size_t>(other)], 0, std::numeric_limits<double>::max()};
  for (int i = 0; i < num_questions; ++i) {
    const double asked_s = now_s();
    send_value(world, 0, other, tag);
    const double there_s = receive_value(world, other, tag), answered_s = now_s();
    if (const double uncertainty_s = (answered_s - asked_s) / 2; uncertainty_s < clock.uncertainty_s) {
      clock.uncertainty_s = uncertainty_s;
      clock.offset_s = there_s - (asked_s + answered_s) / 2;
    }
  }
  return clock;
}

}  // namespace

std::vector<PeerCost> measure_peers(const comm::Communicator& world, const comm::Communicator& node) {
  constexpr std::size_t kLong_bytes = std::size_t{1} << 20;
  constexpr int kSmallTrips = 50, kLongTrips = 2, kSamples = 7;
  const std::vector<int> nodes = nodes_of(world, node);
  std::vector<PeerCost> peers;
  for (const Round& round : all_rounds(nodes)) {
    world.barrier();
    for (const auto& [a, b] : round)
      if (world.rank() == a || world.rank() == b) {
        const double small_us = measure::ping_pong_us(world, a, b, 8, kSmallTrips, kSamples);
        const double long_us = measure::ping_pong_us(world, a, b, kLong_bytes, kLongTrips, kSamples);
        if (world.rank() == a)
          peers.push_back({a, b, nodes[static_cast<std::size_t>(a)] == nodes[static_cast<std::size_t>(b)], small_us,
                           static_cast<double>(kLong_bytes) / long_us * 1e-3});
      }
  }
  return comm::gather_joined(world, peers);
}

std::string peer_matrix(const std::vector<PeerCost>& peers, const std::vector<std::string>& hosts) {
  std::map<std::pair<int, int>, const PeerCost*> costs;
  std::set<int> ranks;
  for (const PeerCost& peer : peers) {
    costs[{peer.a, peer.b}] = costs[{peer.b, peer.a}] = &peer;
    ranks.insert({peer.a, peer.b});
  }
  if (ranks.empty() || ranks.size() > 2 * kMostPeers) return "";
  std::string text = fmt::format("{:>12}", "us \\ GB/s");
  for (const int rank : ranks) text += fmt::format(" {:>8}", rank);
  for (const int a : ranks) {
    text += fmt::format("\n{:>12}", fmt::format("{} {}", a, hosts[static_cast<std::size_t>(a)]));
    for (const int b : ranks) {
      const auto found = costs.find({a, b});
      if (a == b || found == costs.end())
        text += fmt::format(" {:>8}", a == b ? "-" : "");
      else
        text +=
            a < b ? fmt::format(" {:>8.1f}", found->second->latency_us) : fmt::format(" {:>8.2f}", found->second->gbps);
    }
  }
  return text;
}

std::vector<ClockOffset> measure_clocks(const comm::Communicator& world, const comm::Communicator& node) {
  constexpr int kTag = 10, kQuestions = 10;
  const std::vector<int> nodes = nodes_of(world, node);
  std::vector<ClockOffset> clocks;
  for (int rank = 1; rank < world.size(); ++rank) {
    if (nodes[static_cast<std::size_t>(rank)] != rank) continue;
    if (world.rank() == 0) clocks.push_back(ask_clock(world, rank, kTag, kQuestions));
    if (world.rank() == rank)
      for (int i = 0; i < kQuestions; ++i) receive_value(world, 0, kTag), send_value(world, now_s(), 0, kTag);
  }
  return clocks;
}

}  // namespace moesaic::apps::doctor
