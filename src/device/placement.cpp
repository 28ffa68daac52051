#include "device/placement.hpp"

#include <algorithm>
#include <map>

#include "base/error.hpp"

namespace moesaic::device {
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

/// "0-3,8" for processors' numbers or domains.
std::string ranges(const std::vector<Processor>& processors, int Processor::*member) {
  std::vector<int> numbers;
  for (const Processor& processor : processors) numbers.push_back(processor.*member);
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

/// One entry a rank; one for all when they agree; of very many the first.
std::string joined(const std::vector<std::string>& entries) {
  constexpr std::size_t kMost = 32;
  if (std::all_of(entries.begin(), entries.end(), [&](const auto& entry) { return entry == entries[0]; }))
    return entries[0];
  std::string text = entries[0];
  for (std::size_t i = 1; i < std::min(entries.size(), kMost); ++i) text += " | " + entries[i];
  return entries.size() > kMost ? text + " | ..." : text;
}

}  // namespace

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
  const std::string numbers =
      fmt::format("{} ranks x {} threads on {} processors", sharers.num_ranks, rank.num_threads, num_processors);
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
    processors.push_back(ranges(rank.threads, &Processor::number));
    domains.push_back(ranges(rank.threads, &Processor::domain));
  }
  if (threads.empty()) return fmt::format("not bound ({})", joined(reasons));
  return fmt::format("{} threads a rank bound to processors {} (NUMA {})", joined(threads), joined(processors),
                     joined(domains));
}

}  // namespace moesaic::device
