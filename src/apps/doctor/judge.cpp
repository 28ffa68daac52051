#include "apps/doctor/judge.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <set>

#include "base/units.hpp"
#include "comm/single_copy.hpp"
#include "host/placement.hpp"

namespace moesaic::apps::doctor {
namespace {

using Facts = std::vector<RankFacts>;
using RanksBy = std::map<std::string, std::vector<int>>;

constexpr double kGiB = 1 << 30;

/// Which ranks have which text.
RanksBy grouped(const Facts& facts, const std::function<std::string(const RankFacts&)>& text) {
  RanksBy groups;
  for (std::size_t rank = 0; rank < facts.size(); ++rank) groups[text(facts[rank])].push_back(static_cast<int>(rank));
  return groups;
}

std::string in_words(const RanksBy& groups, std::size_t num_ranks) {
  std::vector<std::string> parts;
  for (const auto& [text, ranks] : groups) parts.push_back(said_by(ranks, num_ranks, text));
  return joined(parts, "; ");
}

/// Ranks by the lowest rank of their node.
std::map<int, std::vector<int>> by_node(const Facts& facts) {
  std::map<int, std::vector<int>> nodes;
  for (std::size_t rank = 0; rank < facts.size(); ++rank) nodes[facts[rank].node].push_back(static_cast<int>(rank));
  return nodes;
}

const RankFacts& of(const Facts& facts, int rank) { return facts[static_cast<std::size_t>(rank)]; }

void judge_launcher(const Facts& facts, Findings& findings) {
  const RankFacts& first = facts.front();
  const int ranks = static_cast<int>(facts.size());
  Finding finding{Status::kOk, "launcher",
                  fmt::format("{}, {} of {}", first.launcher == "none" ? "no launcher" : first.launcher,
                              ranks == 1 ? "1 rank" : fmt::format("{} ranks", ranks), first.mpi_library),
                  ""};
  if (first.launcher == "srun" && first.slurm_tasks > ranks) {
    finding.status = Status::kFailed;
    finding.text += fmt::format(": Slurm started {} tasks", first.slurm_tasks);
    finding.remedy = "srun and MPI speak different PMIs: srun --mpi=pmix (srun --mpi=list names those there are)";
  } else if (first.slurm_tasks > 0 && first.slurm_tasks != ranks) {
    finding.status = Status::kWarning;
    finding.text += fmt::format("; the job has {} tasks", first.slurm_tasks);
    finding.remedy = "mpirun -n, or srun -n, starts another number of ranks than sbatch asks for";
  }
  findings.push_back(finding);
  if (const RanksBy libraries = grouped(facts, [](const auto& f) { return f.mpi_library; }); libraries.size() > 1)
    findings.push_back({Status::kFailed, "MPI library", in_words(libraries, facts.size()),
                        "load the same modules on all nodes; is the library on a file system that all see?"});
}

void judge_ranks(const Facts& facts, Findings& findings) {
  const auto nodes = by_node(facts);
  std::set<std::size_t> counts;
  std::map<std::string, int> hosts;
  std::vector<std::string> words;
  for (const auto& [node, ranks] : nodes) {
    counts.insert(ranks.size());
    ++hosts[of(facts, node).host];
    words.push_back(fmt::format("{} on {}", ranks.size(), of(facts, node).host));
  }
  constexpr std::size_t kMostNamed = 16;
  if (words.size() > kMostNamed) words.resize(kMostNamed), words.push_back("...");
  Finding finding{
      Status::kOk, "ranks",
      fmt::format("{} on {} node{}: {}", facts.size() == 1 ? "1 rank" : fmt::format("{} ranks", facts.size()),
                  nodes.size(), nodes.size() == 1 ? "" : "s", joined(words, ", ")),
      ""};
  const int slurm_nodes = facts.front().slurm_nodes;
  if (slurm_nodes > static_cast<int>(nodes.size())) {
    finding.status = Status::kWarning;
    finding.text += fmt::format("; the job has {} nodes", slurm_nodes);
    finding.remedy = "nodes without a rank idle: give sbatch --ntasks-per-node";
  } else if (counts.size() > 1) {
    finding.status = Status::kWarning;
    finding.remedy = "the fullest node sets the pace: give sbatch --ntasks-per-node";
  }
  for (const auto& [host, times] : hosts)
    if (times > 1) {
      finding.status = Status::kWarning;
      finding.text += fmt::format("; ranks of {} do not share memory", host);
      finding.remedy =
          "start the ranks of a node in one container or namespace, else they use the network inside the node";
    }
  findings.push_back(finding);
}

/// Ranks of a node whose masks overlap without being the same: nobody can share those out.
void judge_overlaps(const Facts& facts, Findings& findings) {
  for (const auto& [node, ranks] : by_node(facts))
    for (std::size_t i = 0; i < ranks.size(); ++i)
      for (std::size_t j = i + 1; j < ranks.size(); ++j) {
        const auto &a = of(facts, ranks[i]).processors, &b = of(facts, ranks[j]).processors;
        std::vector<int> both;
        std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
        if (both.empty() || a == b) continue;
        findings.push_back({Status::kWarning, "binding",
                            fmt::format("ranks {} and {} on {} may both use processors {}", ranks[i], ranks[j],
                                        of(facts, node).host, host::ranges(both)),
                            "masks that overlap in part: srun --cpu-bind=cores with -c, or mpirun --bind-to none"});
        return;  // one pair shows it
      }
}

void judge_binding(const Facts& facts, Findings& findings) {
  Finding finding{Status::kOk, "binding", of(facts, 0).placement, ""};
  RanksBy warnings;
  for (std::size_t rank = 0; rank < facts.size(); ++rank)
    for (const std::string& text : facts[rank].thread_warnings) warnings[text].push_back(static_cast<int>(rank));
  if (!warnings.empty()) {
    finding = {Status::kWarning, "binding", in_words(warnings, facts.size()),
               "cores of a rank: sbatch -c (and SRUN_CPUS_PER_TASK, which slurm/job.sh sets), mpirun --bind-to none"};
  } else {
    for (const auto& [node, ranks] : by_node(facts)) {
      std::set<int> used;
      for (const int rank : ranks) used.insert(of(facts, rank).processors.begin(), of(facts, rank).processors.end());
      const int there = of(facts, node).num_node_processors;
      const double quota = of(facts, node).cpu_quota;
      const bool few = 2 * static_cast<int>(used.size()) <= there, throttled = quota > 0 && quota <= 0.5 * there;
      if (!few && !throttled) continue;
      finding = {
          Status::kWarning, "binding",
          few ? fmt::format("the ranks of {} may use {} of its {} processors", of(facts, node).host, used.size(), there)
              : fmt::format("{}: a CPU quota of {:.4g} of {} processors (the control group's cpu.max)",
                            of(facts, node).host, quota, there),
          few ? "give sbatch -c, or mpirun --bind-to none, or more ranks a node"
              : "raise it: docker --cpus, limits.cpu of Kubernetes, CPUQuota of systemd"};
      break;
    }
  }
  findings.push_back(finding);
  judge_overlaps(facts, findings);
}

void judge_processors(const Facts& facts, Findings& findings) {
  const RanksBy paths = grouped(facts, [](const auto& f) { return f.isa; });
  const RanksBy cpus = grouped(facts, [](const auto& f) { return f.cpu; });
  Finding finding{Status::kOk, "processors",
                  fmt::format("{}; instruction path {}", in_words(cpus, facts.size()), in_words(paths, facts.size())),
                  ""};
  if (paths.size() > 1 || cpus.size() > 1) {
    finding.status = Status::kWarning;
    finding.remedy =
        "the results are the same, but the slowest node sets the pace: sbatch --constraint picks nodes of a kind";
  }
  findings.push_back(finding);
}

/// The names that all lists have.
std::vector<std::string> common(const Facts& facts, std::vector<std::string> RankFacts::*list) {
  std::vector<std::string> names = facts.front().*list;
  for (const RankFacts& f : facts)
    std::erase_if(names, [&](const auto& name) { return std::ranges::find(f.*list, name) == (f.*list).end(); });
  return names;
}

/// Ranks that cannot reach each other, or some of them only in a roundabout way. A rank alone on its node has no use
/// for shared memory, so that counts among neighbours only.
void judge_reach(const Facts& facts, Finding& finding) {
  const auto nodes = by_node(facts);
  const auto differ = [&](auto&& part) { return grouped(facts, part).size() > 1; };
  const auto networks = [](const RankFacts& f) { return joined(f.networks, ", "); };
  if (differ([](const RankFacts& f) { return f.transport_layer; })) {
    finding.status = Status::kFailed;
    finding.remedy =
        "ranks of different transports do not hear each other: set OMPI_MCA_pml for all of them (docs/clusters.md)";
  } else if (nodes.size() > 1 && differ(networks)) {
    const bool reachable = facts.front().transport_layer == "ucx" || !common(facts, &RankFacts::networks).empty();
    finding.status = reachable ? Status::kWarning : Status::kFailed;
    finding.remedy =
        "what reaches other nodes is not the same on all ranks: set OMPI_MCA_btl, or UCX_TLS, for all of them";
  }
  for (const auto& [node, ranks] : nodes)
    for (const int rank : ranks)
      if (finding.status == Status::kOk && of(facts, rank).memory_transports != of(facts, node).memory_transports) {
        finding.status = Status::kWarning;
        finding.remedy = fmt::format(
            "ranks {} and {} of {} do not use the same shared memory, so they use the network inside the node", node,
            rank, of(facts, node).host);
      }
}

void judge_transport(const Facts& facts, Findings& findings) {
  const RanksBy transports = grouped(facts, [](const auto& f) { return f.transport; });
  Finding finding{Status::kOk, "transport", in_words(transports, facts.size()), ""};
  judge_reach(facts, finding);
  const auto idle_adapter = [](const RankFacts& f) {
    return f.has_rdma_adapter && f.networks == std::vector<std::string>{"tcp"};
  };
  if (finding.status == Status::kOk && by_node(facts).size() > 1 && std::ranges::any_of(facts, idle_adapter)) {
    finding.status = Status::kWarning;
    finding.text += "; the nodes have adapters in /sys/class/infiniband";
    finding.remedy =
        "TCP leaves them idle: OMPI_MCA_pml=ucx without UCX_TLS for InfiniBand (docs/clusters.md, settings by network)";
  }
  findings.push_back(finding);
}

/// Long messages inside a node are copied once where ranks may read each other's memory.
void judge_single_copy(const Facts& facts, Findings& findings) {
  for (const RankFacts& f : facts) {
    if (f.reads_neighbour || std::ranges::find(f.memory_transports, "vader") == f.memory_transports.end()) continue;
    constexpr const char* kAllow = "docker --cap-add SYS_PTRACE, or kernel.yama.ptrace_scope 0 or 1, allows it";
    const std::string what = fmt::format("ranks of {} may not read each other's memory", f.host);
    if (f.single_copy.empty() || f.single_copy == "cma")
      findings.push_back({Status::kWarning, "single copy", what + ", and Open MPI prints an error for each message",
                          fmt::format("{}=none; {}", comm::kSingleCopySetting, kAllow)});
    else
      findings.push_back({Status::kWarning, "single copy",
                          fmt::format("{}: their long messages are copied twice ({}={})", what,
                                      comm::kSingleCopySetting, f.single_copy),
                          kAllow});
    return;
  }
}

void judge_memory(const Facts& facts, Findings& findings) {
  std::vector<std::string> words;
  Status status = Status::kOk;
  std::string remedy;
  for (const auto& [node, ranks] : by_node(facts)) {
    const RankFacts& f = of(facts, node);
    const auto left = static_cast<double>(f.memory_bytes), total = static_cast<double>(f.total_memory_bytes);
    const bool none = left < 0.25 * kGiB, little = left < 0.5 * total;
    if (none || little || node == 0)
      words.push_back(fmt::format("{:.1f} of {:.1f} GiB can be had on {}", left / kGiB, total / kGiB, f.host));
    if (none) status = Status::kFailed;
    if (little) status = std::max(status, Status::kWarning);
  }
  if (status != Status::kOk)
    remedy = "the control group of the job limits it, or others use it: sbatch --mem=0 --exclusive takes whole nodes";
  findings.push_back({status, "memory", joined(words, ", "), remedy});
}

void judge_shared_memory(const Facts& facts, Findings& findings) {
  const auto least = std::min_element(facts.begin(), facts.end(), [](const auto& a, const auto& b) {
    return a.shared_memory_bytes < b.shared_memory_bytes;
  });
  Finding finding{
      Status::kOk, "/dev/shm",
      fmt::format("{:.2f} GiB left on {}", static_cast<double>(least->shared_memory_bytes) / kGiB, least->host), ""};
  if (least->shared_memory_bytes < 16 * kMiB) {
    finding.status = Status::kFailed;
    finding.remedy = "MPI and --dispatch hier put messages there: make it larger, or remove what dead jobs left in it";
  } else if (least->shared_memory_bytes < 256 * kMiB) {
    finding.status = Status::kWarning;
    finding.remedy =
        "too little for --dispatch hier with large batches: make it larger (docker --shm-size), or --dispatch flat";
  }
  findings.push_back(finding);
}

void judge_limits(const Facts& facts, Findings& findings) {
  const auto words = [](std::int64_t bytes) {
    return bytes == RankFacts::kUnlimited ? "unlimited" : fmt::format("{} MiB", bytes / kMiB);
  };
  const RanksBy limits = grouped(facts, [&](const RankFacts& f) {
    return fmt::format("lockable memory {}, address space {}, {} open files; huge pages {}", words(f.lockable_bytes),
                       words(f.address_space_bytes),
                       f.open_files == RankFacts::kUnlimited ? "unlimited" : fmt::format("{}", f.open_files),
                       f.huge_pages);
  });
  Finding finding{Status::kOk, "limits", in_words(limits, facts.size()), ""};
  std::vector<std::string> remedies;
  const auto any = [&](auto&& test) { return std::any_of(facts.begin(), facts.end(), test); };
  if (any([](const auto& f) { return f.has_rdma_adapter && f.lockable_bytes != RankFacts::kUnlimited; }))
    remedies.push_back(
        "InfiniBand needs lockable memory: ulimit -l unlimited in slurmd's unit, "
        "PropagateResourceLimitsExcept=MEMLOCK");
  if (any([](const auto& f) { return f.process_memory_bytes != RankFacts::kUnlimited; })) {
    const auto least = std::ranges::min_element(facts, {}, [](const auto& f) {
      return f.process_memory_bytes == RankFacts::kUnlimited ? std::numeric_limits<std::int64_t>::max()
                                                             : f.process_memory_bytes;
    });
    finding.text += fmt::format("; a rank on {} may have {} more", least->host, words(least->process_memory_bytes));
    if (static_cast<double>(least->process_memory_bytes) < kGiB / 4) finding.status = Status::kFailed;
    remedies.push_back("all that a rank maps counts, libraries too: ulimit -v unlimited, ulimit -d unlimited");
  }
  if (any([&](const auto& f) {
        return f.open_files != RankFacts::kUnlimited && f.open_files < 256 + static_cast<std::int64_t>(facts.size());
      }))
    remedies.push_back("a connection is an open file: ulimit -n 4096");
  if (!remedies.empty())
    finding.status = std::max(finding.status, Status::kWarning), finding.remedy = joined(remedies, "; ");
  findings.push_back(finding);
}

}  // namespace

Findings judge(const Facts& facts) {
  Findings findings{{Status::kOk, "build", facts.front().build + " on all ranks", ""}};
  for (const auto& judge_part : {judge_launcher, judge_ranks, judge_binding, judge_processors, judge_transport,
                                 judge_single_copy, judge_memory, judge_shared_memory, judge_limits})
    judge_part(facts, findings);
  return findings;
}

}  // namespace moesaic::apps::doctor
