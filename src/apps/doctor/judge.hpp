#pragma once

#include "apps/doctor/facts.hpp"
#include "apps/doctor/finding.hpp"

/// What facts mean. No MPI: sites that are not at hand can be judged in tests.
namespace moesaic::apps::doctor {

/// facts: by rank. One finding a subject, more where several things are wrong.
Findings judge(const std::vector<RankFacts>& facts);

/// What messages between two ranks cost.
struct PeerCost {
  int a = 0, b = 0;
  bool same_node = false;
  double latency_us = 0;  ///< of 8 B, one way
  double gbps = 0;        ///< GB/s of 1 MiB, one way
};

/// hosts: by rank. A pair stands out that is several times worse than the median of its kind (inside a node, between
/// nodes); a node whose pairs all do is named as such. Between nodes there are limits too, beyond which a network is of
/// no use, since with two nodes nothing can stand out. transport: what carries the messages. crowded: ranks share
/// processors, so that figures say little.
Findings judge_peers(const std::vector<PeerCost>& peers, const std::vector<std::string>& hosts,
                     const std::string& transport, bool crowded);

/// How far a node's clock is from rank 0's.
struct ClockOffset {
  std::string host;
  double offset_s = 0;       ///< positive: ahead
  double uncertainty_s = 0;  ///< half of the quickest round trip
};
Finding judge_clocks(const std::vector<ClockOffset>& clocks);

/// What a node sees of the folder that jobs work in.
struct FolderFacts {
  std::string host, error;  ///< error: why the folder cannot be used; the rest means nothing then
  std::string file_system;  ///< "lustre"
  std::int64_t free_bytes = 0;
  double seen_after_s = 0;   ///< until rank 0's file was there in full
  std::string problem;       ///< why that file could not be read, or what was wrong with it
  std::string lock_problem;  ///< why a job does not keep another from the same files
  double read_mbps = 0;
};
/// What rank 0 measured of it.
struct WriteRates {
  double mbps = 0;      ///< of a file of some MiB, with fsync
  double fsync_ms = 0;  ///< of 4 KiB appended, the median
};
Findings judge_folder(const std::string& folder, const std::vector<FolderFacts>& nodes, const WriteRates& rates);

}  // namespace moesaic::apps::doctor
