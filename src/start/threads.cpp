#include "start/threads.hpp"

#include <cstring>
#include <latch>
#include <map>
#include <memory>
#include <sstream>
#include <type_traits>

#include "base/denormals.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "base/parallel.hpp"
#include "comm/share.hpp"
#include "host/binding.hpp"
#include "host/control_groups.hpp"
#include "host/thread_count.hpp"

namespace moesaic {
namespace {

/// A team whose threads have all begun.
void make_bound_team(int num_threads, bool spin) {
  const auto begun = std::make_shared<std::latch>(num_threads - 1);
  make_team({.num_threads = num_threads, .spin = spin, .at_start = [begun](int thread) {
               flush_denormals();
               host::bind_thread(thread);
               begun->count_down();
             }});
  begun->wait();
}

std::vector<std::string> warnings_for(std::span<const host::NodeRank> ranks, std::size_t me,
                                      const host::Placement& own) {
  std::vector<std::string> warnings;
  if (std::string crowding = host::crowding(host::processors(), ranks, me); !crowding.empty())
    warnings.push_back(std::move(crowding));
  if (std::string crowding = host::quota_crowding(ranks, me); !crowding.empty())
    warnings.push_back(std::move(crowding));
  if (!own.shared.empty()) {
    std::vector<int> numbers;
    for (const host::Processor& processor : own.shared) numbers.push_back(processor.number);
    const char* plural = numbers.size() == 1 ? "" : "s";
    warnings.push_back(
        fmt::format("--bind cores: the affinity masks overlap, and several threads are bound to processor{} {}; give "
                    "fewer --threads, masks that do not overlap, or --bind none",
                    plural, host::ranges(std::move(numbers))));
  }
  if (const int refused = host::refused().threads; refused > 0)
    warnings.push_back(fmt::format("the system has refused to bind {} of {} threads", refused, own.threads.size()));
  return warnings;
}

}  // namespace

int threads_per_rank(const comm::Communicator& node, int asked) {
  const auto ranks =
      comm::exchange_values(node, host::NodeRank{host::initial_mask(), 1, host::ControlGroups().cpu_quota()});
  const auto me = static_cast<std::size_t>(node.rank());
  return host::threads_per_rank(asked, host::num_with_mask(ranks, me), host::quota_share(ranks, me));
}

TeamReport set_threads(const comm::Communicator& node, int num_threads, host::Bind bind) {
  const host::CpuQuota quota = host::ControlGroups().cpu_quota();
  const auto ranks = comm::exchange_values(node, host::NodeRank{host::initial_mask(), num_threads, quota});
  std::vector<host::Placement> placements;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank)
    placements.push_back(host::place(host::processors(), ranks, rank, bind));
  const auto me = static_cast<std::size_t>(node.rank());
  const host::Placement& own = placements[me];

  make_team({});  // the threads there were look at the placement in use
  host::use(own);
  const bool bound = host::bind_thread(0);
  make_bound_team(num_threads, own.processor_each && host::quota_crowding(ranks, me).empty());
  flush_denormals();
  std::string placement =
      bound || own.threads.empty() ? host::describe(placements) : "not bound (the system refuses it)";
  if (quota.processors > 0) placement += fmt::format(", CPU quota {:.4g} processors", quota.processors);
  return {std::move(placement), warnings_for(ranks, me, own)};
}

void log_warnings(const comm::Communicator& world, const std::vector<std::string>& warnings) {
  std::string lines;
  for (const std::string& warning : warnings) lines += warning + "\n";
  const std::vector<std::string> all = comm::gather_texts(world, lines);
  std::map<std::string, std::vector<int>> ranks_of;
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    std::istringstream stream(all[rank]);
    for (std::string line; std::getline(stream, line);) ranks_of[line].push_back(static_cast<int>(rank));
  }
  for (auto& [warning, ranks] : ranks_of) {
    const char* s = ranks.size() == 1 ? "" : "s";
    spdlog::warn("warning: {}{}", warning,
                 world.size() == 1 ? "" : fmt::format(" (rank{} {})", s, host::ranges(std::move(ranks))));
  }
}

}  // namespace moesaic
