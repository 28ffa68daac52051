#include "host/placement.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "base/counted.hpp"
#include "base/error.hpp"

namespace moesaic::host {
namespace {

/// The ranks that share a mask, seen by one of them.
struct Sharers {
  std::int64_t num_ranks = 0;
  std::int64_t num_threads = 0;     ///< of all
  std::int64_t threads_before = 0;  ///< of those before this rank
  bool overlap = false;             ///< whether another mask has some of these processors, but not the same ones
};

Sharers sharers_of(std::span<const NodeRank> ranks, std::size_t me) {
  Sharers sharers;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    if (ranks[rank].mask != ranks[me].mask) {
      sharers.overlap |= (ranks[rank].mask & ranks[me].mask).any();
      continue;
    }
    ++sharers.num_ranks;
    sharers.num_threads += ranks[rank].num_threads;
    if (rank < me) sharers.threads_before += ranks[rank].num_threads;
  }
  return sharers;
}

/// A processor, and how many of its core come before it.
struct Candidate {
  Processor processor;
  int nth_of_core;
};

std::vector<Candidate> candidates_in(std::span<const Processor> machine, const ProcessorSet& mask) {
  std::vector<Candidate> candidates;
  std::map<int, int> num_of_core;
  for (const Processor& processor : machine)
    if (mask.test(static_cast<std::size_t>(processor.number)))
      candidates.push_back({processor, num_of_core[processor.core]++});
  return candidates;
}

/// This rank's even share of the candidates, one for each of its threads, of few cores the first processors first.
std::vector<Processor> share(std::vector<Candidate> candidates, const Sharers& sharers, int num_threads) {
  const auto is_first = [](const Candidate& candidate) { return candidate.nth_of_core == 0; };
  if (std::count_if(candidates.begin(), candidates.end(), is_first) >= sharers.num_threads)
    std::erase_if(candidates, [&](const Candidate& candidate) { return !is_first(candidate); });
  const auto cut = [&](std::int64_t thread) {
    return candidates.begin() + thread * std::ssize(candidates) / sharers.num_threads;
  };
  const auto first = cut(sharers.threads_before), last = cut(sharers.threads_before + num_threads);
  std::stable_sort(first, last, [](const Candidate& a, const Candidate& b) { return a.nth_of_core < b.nth_of_core; });
  std::vector<Processor> threads;
  for (auto at = first; at != first + num_threads; ++at) threads.push_back(at->processor);
  return threads;
}

/// Gives threads of ranks whose masks overlap a processor each: as many as can have one of their own, by augmenting
/// paths (Kuhn's matching); the others one that few have.
class Matching {
 public:
  Matching(std::span<const Processor> machine, std::span<const NodeRank> ranks) {
    const std::vector<Candidate> all = candidates_in(machine, ProcessorSet().set());  // a core may be of several masks
    for (const NodeRank& rank : ranks) {
      auto& choices = choices_.emplace_back();
      std::copy_if(all.begin(), all.end(), std::back_inserter(choices), [&](const Candidate& candidate) {
        return rank.mask.test(static_cast<std::size_t>(candidate.processor.number));
      });
      std::stable_sort(choices.begin(), choices.end(),
                       [](const Candidate& a, const Candidate& b) { return a.nth_of_core < b.nth_of_core; });
      for (int thread = 0; thread < rank.num_threads; ++thread) rank_of_.push_back(choices_.size() - 1);
    }
    for (std::size_t thread = 0; thread < rank_of_.size(); ++thread) {
      std::set<int> tried;
      if (!place(thread, tried)) left_over_.push_back(thread);
    }
    for (const std::size_t thread : left_over_) {
      const auto& choices = choices_[rank_of_[thread]];
      if (choices.empty()) continue;
      const auto least = std::min_element(choices.begin(), choices.end(), [&](const Candidate& a, const Candidate& b) {
        return threads_on_[a.processor.number].size() < threads_on_[b.processor.number].size();
      });
      threads_on_[least->processor.number].push_back(thread);
    }
  }

  Placement of(std::size_t rank) const {
    Placement placement;
    for (const Candidate& choice : choices_[rank]) {
      const auto found = threads_on_.find(choice.processor.number);
      if (found == threads_on_.end()) continue;
      const auto own = std::count_if(found->second.begin(), found->second.end(),
                                     [&](std::size_t thread) { return rank_of_[thread] == rank; });
      placement.threads.insert(placement.threads.end(), static_cast<std::size_t>(own), choice.processor);
      if (own > 0 && found->second.size() > 1) placement.shared.push_back(choice.processor);
    }
    placement.processor_each = placement.shared.empty();
    return placement;
  }

 private:
  /// Whether the thread got a processor, of another thread if that one could move.
  bool place(std::size_t thread, std::set<int>& tried) {
    const auto& choices = choices_[rank_of_[thread]];
    for (const Candidate& choice : choices)
      if (auto& there = threads_on_[choice.processor.number]; there.empty()) {
        there = {thread};
        return true;
      }
    for (const Candidate& choice : choices) {
      auto& there = threads_on_[choice.processor.number];
      if (!tried.insert(choice.processor.number).second || !place(there[0], tried)) continue;
      there = {thread};
      return true;
    }
    return false;
  }

  std::vector<std::vector<Candidate>> choices_;  // of each rank, those of a core's first threads first
  std::vector<std::size_t> rank_of_;             // of each thread of the node
  std::vector<std::size_t> left_over_;
  std::map<int, std::vector<std::size_t>> threads_on_;  // by the processor's number
};

/// The numbers of the processors, or of their domains, as ranges in words.
std::string ranges_of(const std::vector<Processor>& processors, int Processor::*member) {
  std::vector<int> numbers;
  for (const Processor& processor : processors) numbers.push_back(processor.*member);
  return ranges(std::move(numbers));
}

/// The entries, one a rank, in one line; of very many only the first 32.
std::string listed(const std::vector<std::string>& entries) {
  constexpr std::size_t kMost = 32;
  std::string text = entries[0];
  for (std::size_t i = 1; i < std::min(entries.size(), kMost); ++i) text += " | " + entries[i];
  return entries.size() > kMost ? text + " | ..." : text;
}

/// The same; one for all when they agree.
std::string joined(const std::vector<std::string>& entries) {
  const bool agree =
      std::all_of(entries.begin(), entries.end(), [&](const auto& entry) { return entry == entries[0]; });
  return agree ? entries[0] : listed(entries);
}

/// Processors, and the ranks that have no others.
struct Crowd {
  std::int64_t num_processors = 0, num_ranks = 0, num_threads = 0;
  double threads_each() const { return static_cast<double>(num_threads) / static_cast<double>(num_processors); }
};

Crowd crowd_on(const ProcessorSet& processors, std::span<const NodeRank> ranks) {
  Crowd crowd{static_cast<std::int64_t>(processors.count())};
  for (const NodeRank& rank : ranks) {
    if ((rank.mask & ~processors).any()) continue;
    ++crowd.num_ranks;
    crowd.num_threads += rank.num_threads;
  }
  return crowd;
}

/// The ranks that share a quota; none when it is none.
Crowd crowd_under(const CpuQuota& quota, std::span<const NodeRank> ranks) {
  Crowd crowd;
  for (const NodeRank& rank : ranks) {
    if (quota.processors <= 0 || rank.quota.processors <= 0 || rank.quota.group != quota.group) continue;
    ++crowd.num_ranks;
    crowd.num_threads += rank.num_threads;
  }
  return crowd;
}

/// The processors of a rank, of those that share some with it, of those that share some with them, and so on.
ProcessorSet connected(std::span<const NodeRank> ranks, std::size_t me) {
  ProcessorSet all = ranks[me].mask;
  for (ProcessorSet before; before != all;) {
    before = all;
    for (const NodeRank& rank : ranks)
      if ((rank.mask & all).any()) all |= rank.mask;
  }
  return all;
}

}  // namespace

std::string ranges(std::vector<int> numbers) {
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  std::string text;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const int first = numbers[i];
    while (i + 1 < numbers.size() && numbers[i + 1] == numbers[i] + 1) ++i;
    text += fmt::format("{}{}", text.empty() ? "" : ",", first);
    if (numbers[i] != first) text += fmt::format("-{}", numbers[i]);
  }
  return text;
}

int num_with_mask(std::span<const NodeRank> ranks, std::size_t me) {
  return static_cast<int>(
      std::count_if(ranks.begin(), ranks.end(), [&](const NodeRank& rank) { return rank.mask == ranks[me].mask; }));
}

std::string crowding(std::span<const Processor> machine, std::span<const NodeRank> ranks, std::size_t me) {
  Crowd worst = crowd_on(connected(ranks, me), ranks);
  for (const NodeRank& rank : ranks)  // masks that hold this rank's own
    if ((ranks[me].mask & ~rank.mask).none())
      if (const Crowd crowd = crowd_on(rank.mask, ranks); crowd.threads_each() > worst.threads_each()) worst = crowd;
  if (worst.num_threads <= worst.num_processors) return "";
  const bool alone = worst.num_ranks == 1, narrow = worst.num_processors < std::ssize(machine);
  return fmt::format("{} threads{} on {} processor{}; give fewer --threads{}{}", worst.num_threads,
                     alone ? "" : fmt::format(" of {} ranks", worst.num_ranks), worst.num_processors,
                     worst.num_processors == 1 ? "" : "s", alone ? "" : " or ranks",
                     narrow ? ", or more cpus per task, or bind with --bind-to none" : "");
}

double quota_share(std::span<const NodeRank> ranks, std::size_t me) {
  const Crowd crowd = crowd_under(ranks[me].quota, ranks);
  return crowd.num_ranks == 0 ? 0 : ranks[me].quota.processors / static_cast<double>(crowd.num_ranks);
}

std::string quota_crowding(std::span<const NodeRank> ranks, std::size_t me) {
  const CpuQuota& quota = ranks[me].quota;
  const Crowd crowd = crowd_under(quota, ranks);
  if (static_cast<double>(crowd.num_threads) <= quota.processors) return "";
  return fmt::format(
      "{} of {} under a CPU quota of {:.4g} processors (the control group's cpu.max); all of them stop "
      "when it is used up: raise it (docker --cpus, limits.cpu, CPUQuota), or give fewer --threads or "
      "ranks",
      counted(crowd.num_threads, "thread"), counted(crowd.num_ranks, "rank"), quota.processors);
}

std::optional<Bind> bind_from(std::string_view word) {
  if (word == "auto") return Bind::kAuto;
  if (word == "none") return Bind::kNone;
  if (word == "cores") return Bind::kCores;
  return std::nullopt;
}

Placement place(std::span<const Processor> machine, std::span<const NodeRank> ranks, std::size_t me, Bind bind) {
  const NodeRank& rank = ranks[me];
  const Sharers sharers = sharers_of(ranks, me);
  std::vector<Candidate> candidates = candidates_in(machine, rank.mask);
  const std::int64_t num_processors = std::ssize(candidates);
  const auto num_cores = std::count_if(candidates.begin(), candidates.end(),
                                       [](const Candidate& candidate) { return candidate.nth_of_core == 0; });
  const std::string numbers = fmt::format("{} x {} on {}", counted(sharers.num_ranks, "rank"),
                                          counted(rank.num_threads, "thread"), counted(num_processors, "processor"));
  const bool fits = sharers.num_threads <= num_processors;
  const bool fills = sharers.num_threads == num_cores || sharers.num_threads == num_processors;
  const bool launcher_chose = num_processors < std::ssize(machine);

  Placement placement;
  placement.processor_each = fits && !sharers.overlap;
  if (bind == Bind::kNone)
    placement.reason = "--bind none";
  else if (bind == Bind::kCores && !fits)
    fail("--bind cores: {}; give fewer --threads or more cpus per task, or --bind none", numbers);
  else if (bind == Bind::kAuto && sharers.overlap)
    placement.reason = "the ranks' affinity masks overlap";
  else if (bind == Bind::kAuto && !(fits && (launcher_chose || fills)))
    placement.reason = numbers;
  else if (sharers.overlap)
    placement = Matching(machine, ranks).of(me);
  else
    placement.threads = share(std::move(candidates), sharers, rank.num_threads);
  return placement;
}

std::string describe(std::span<const Placement> ranks) {
  std::vector<std::string> threads, processors, domains, reasons;
  for (const Placement& rank : ranks) {
    if (rank.threads.empty()) {
      reasons.push_back(rank.reason);
      processors.push_back("none");
      continue;
    }
    threads.push_back(fmt::format("{}", rank.threads.size()));
    processors.push_back(ranges_of(rank.threads, &Processor::number));
    domains.push_back(ranges_of(rank.threads, &Processor::domain));
  }
  if (threads.empty()) return fmt::format("not bound ({})", joined(reasons));
  const std::string numbers = joined(threads);
  return fmt::format("{} thread{} a rank bound to processors {} (NUMA {})", numbers, numbers == "1" ? "" : "s",
                     listed(processors), joined(domains));
}

}  // namespace moesaic::host
