#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "apps/doctor/judge.hpp"
#include "base/counted.hpp"

namespace moesaic::apps::doctor {
namespace {

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Median latency and rate over the pairs of ranks of one kind: on one node, or on two.
struct Typical {
  double latency_us = 0, gbps = 0;

  Typical(const std::vector<PeerCost>& peers, bool same_node) {
    std::vector<double> latencies, rates;
    for (const PeerCost& peer : peers)
      if (peer.same_node == same_node) latencies.push_back(peer.latency_us), rates.push_back(peer.gbps);
    latency_us = median(latencies), gbps = median(rates);
  }
  /// The constant keeps the noise of quick links out.
  bool has_outlier(const PeerCost& peer) const { return peer.latency_us > 4 * latency_us + 20 || peer.gbps < gbps / 4; }
  std::string text(const char* where) const {
    return fmt::format("{} {:.1f} us, {:.2f} GB/s", where, latency_us, gbps);
  }
};

/// Hosts all of whose pairs to other hosts stand out, when others do not.
std::set<std::string> slow_hosts(const std::vector<PeerCost>& slow, const std::vector<PeerCost>& peers,
                                 const std::vector<std::string>& hosts) {
  std::map<std::string, int> all, bad;
  const auto count = [&](const std::vector<PeerCost>& pairs, std::map<std::string, int>& into) {
    for (const PeerCost& peer : pairs)
      if (!peer.same_node)
        for (const int rank : {peer.a, peer.b}) ++into[hosts[static_cast<std::size_t>(rank)]];
  };
  count(peers, all);
  count(slow, bad);
  std::set<std::string> names;
  for (const auto& [host, times] : bad)
    if (times > 1 && times == all[host]) names.insert(host);
  return names;
}

/// Between nodes: gigabit Ethernet has 50 to 100 us and 0.11 GB/s over TCP, so what is slower is no cluster's network.
constexpr double kMostLatency_us = 200, kLeastGbps = 0.1;

bool is_too_slow(const PeerCost& peer) {
  return !peer.same_node && (peer.latency_us > kMostLatency_us || peer.gbps < kLeastGbps);
}

/// The worst of some pairs, e.g. "ranks 0 (n0) and 3 (n1) with 12.0 us, 0.50 GB/s".
std::string worst_of(const std::vector<PeerCost>& peers, const std::vector<std::string>& hosts) {
  const PeerCost& worst = *std::max_element(peers.begin(), peers.end(), [](const auto& a, const auto& b) {
    return a.latency_us / a.gbps < b.latency_us / b.gbps;
  });
  const auto name = [&](int rank) { return fmt::format("{} ({})", rank, hosts[static_cast<std::size_t>(rank)]); };
  return fmt::format("ranks {} and {} with {:.1f} us, {:.2f} GB/s", name(worst.a), name(worst.b), worst.latency_us,
                     worst.gbps);
}

void complain(Finding& finding, const std::string& text, const std::string& remedy) {
  finding.status = Status::kWarning;
  finding.text += "; " + text;
  finding.remedy += (finding.remedy.empty() ? "" : "; ") + remedy;
}

void complain_of_outliers(const std::vector<PeerCost>& outliers, const std::vector<PeerCost>& peers,
                          const std::vector<std::string>& hosts, Finding& finding) {
  std::string text = fmt::format("{} of them stand out, most of all {}", outliers.size(), worst_of(outliers, hosts));
  if (const auto names = slow_hosts(outliers, peers, hosts); !names.empty() && names.size() * 2 < hosts.size())
    text += fmt::format("; every link of {} does", joined(names, ", "));
  complain(finding, text,
           "again to see whether it stays; then leave the node out (sbatch --exclude) and tell the site's staff");
}

void complain_of_network(const std::vector<PeerCost>& too_slow, const std::vector<std::string>& hosts,
                         const std::string& transport, Finding& finding) {
  constexpr int kExchanges = 2 * 64;  // dispatch and combine of Grok-1's layers
  double latency_us = 0;
  for (const PeerCost& peer : too_slow) latency_us = std::max(latency_us, peer.latency_us);
  complain(finding,
           fmt::format("{} between nodes beyond {:.0f} us or below {} GB/s, most of all {}", too_slow.size(),
                       kMostLatency_us, kLeastGbps, worst_of(too_slow, hosts)),
           fmt::format("messages go by {}: is there a faster network (docs/clusters.md)? Dispatch and combine of "
                       "Grok-1's 64 layers wait {:.0f} ms of each token for {:.0f} us; --pp with a stage for each node "
                       "keeps them inside nodes",
                       transport, kExchanges * latency_us * 1e-3, latency_us));
}

}  // namespace

Findings judge_peers(const std::vector<PeerCost>& peers, const std::vector<std::string>& hosts,
                     const std::string& transport, bool crowded) {
  if (peers.empty()) return {};
  const Typical inside(peers, true), across(peers, false);
  const auto has = [&](bool same_node) {
    return std::any_of(peers.begin(), peers.end(), [=](const PeerCost& peer) { return peer.same_node == same_node; });
  };
  std::vector<std::string> words;
  if (has(true)) words.push_back(inside.text("inside a node"));
  if (has(false)) words.push_back(across.text("between nodes"));
  Finding finding{Status::kOk, "peers",
                  fmt::format("{} (medians of {})", joined(words, "; "), counted(std::ssize(peers), "pair")), ""};
  std::vector<PeerCost> outliers, too_slow;
  for (const PeerCost& peer : peers) {
    if ((peer.same_node ? inside : across).has_outlier(peer)) outliers.push_back(peer);
    if (is_too_slow(peer)) too_slow.push_back(peer);
  }
  if (const std::size_t noisy = std::max(outliers.size(), too_slow.size()); crowded && noisy > 0) {
    finding.text += fmt::format("; {} of them stand out or are slow, but ranks share processors", noisy);
    return {finding};
  }
  if (!outliers.empty()) complain_of_outliers(outliers, peers, hosts, finding);
  if (!too_slow.empty()) complain_of_network(too_slow, hosts, transport, finding);
  return {finding};
}

Finding judge_clocks(const std::vector<ClockOffset>& clocks) {
  if (clocks.empty()) return {Status::kOk, "clocks", "one node", ""};
  const ClockOffset& worst = *std::max_element(clocks.begin(), clocks.end(), [](const auto& a, const auto& b) {
    return std::abs(a.offset_s) < std::abs(b.offset_s);
  });
  Finding finding{Status::kOk, "clocks",
                  fmt::format("{} is {:.3f} s {} of rank 0's node (to {:.3f} s), no other further", worst.host,
                              std::abs(worst.offset_s), worst.offset_s < 0 ? "behind" : "ahead", worst.uncertainty_s),
                  ""};
  if (std::abs(worst.offset_s) - worst.uncertainty_s > 1) {
    finding.status = Status::kWarning;
    finding.remedy =
        "results do not depend on it, but logs and time stamps of files will not fit together: NTP of that node";
  }
  return finding;
}

Findings judge_folder(const std::string& folder, const std::vector<FolderFacts>& nodes, const WriteRates& rates) {
  constexpr double kGiB = 1 << 30;
  constexpr const char* kElsewhere = "give --path a folder on a file system that all nodes share (scratch, project)";
  Findings findings;
  for (const FolderFacts& node : nodes) {  // the first one tells it
    if (!node.error.empty())
      return {{Status::kFailed, "files", fmt::format("{} on {}: {}", folder, node.host, node.error), kElsewhere}};
  }
  const FolderFacts& first = nodes.front();
  double slowest = 0, read_mbps = first.read_mbps;
  for (const FolderFacts& node : nodes) {
    if (!node.problem.empty())
      return {{Status::kFailed, "files",
               fmt::format("{} ({} on {}): a file that {} wrote there: {}", folder, node.file_system, node.host,
                           first.host, node.problem),
               kElsewhere}};
    slowest = std::max(slowest, node.seen_after_s);
    read_mbps = std::min(read_mbps, node.read_mbps);
  }
  Finding finding{Status::kOk, "files",
                  fmt::format("{}: {}, {:.1f} GiB free; writes {:.0f} MB/s, an fsync takes {:.1f} ms, reads {:.0f} "
                              "MB/s (perhaps from a cache)",
                              folder, first.file_system, static_cast<double>(first.free_bytes) / kGiB, rates.mbps,
                              rates.fsync_ms, read_mbps),
                  ""};
  if (nodes.size() > 1)
    finding.text += fmt::format("; all {} nodes see the same file after {:.1f} s", nodes.size(), slowest);
  std::vector<std::string> remedies;
  if (first.free_bytes < static_cast<std::int64_t>(kGiB))
    remedies.push_back("little space is free: results and journals need some");
  if (rates.fsync_ms > 200)
    remedies.push_back("a batch job's journal waits for an fsync now and then: another folder will be faster");
  if (slowest > 2) remedies.push_back("files appear late on other nodes: wait between jobs that hand files on");
  for (const FolderFacts& node : nodes)
    if (!node.lock_problem.empty()) {
      finding.text += fmt::format("; {} (on {})", node.lock_problem, node.host);
      remedies.push_back(
          "nothing keeps two jobs from the same output there: see to it yourself (Lustre: mount -o flock)");
      break;
    }
  if (first.file_system == "tmpfs") remedies.push_back("this folder is in memory and gone after the job");
  if (!remedies.empty()) finding.status = Status::kWarning, finding.remedy = joined(remedies, "; ");
  return {finding};
}

}  // namespace moesaic::apps::doctor
