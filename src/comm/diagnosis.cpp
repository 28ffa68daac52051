#include "comm/diagnosis.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <span>

namespace moesaic::comm {
namespace {

std::string list(const std::vector<int>& ranks, const std::vector<std::string>* hosts = nullptr) {
  constexpr std::size_t kMost = 16;
  std::string text;
  for (std::size_t i = 0; i < ranks.size() && i < kMost; ++i) {
    text += fmt::format("{}{}", i == 0 ? "" : ", ", ranks[i]);
    if (hosts) text += fmt::format(" on {}", (*hosts)[static_cast<std::size_t>(ranks[i])]);
  }
  if (ranks.size() > kMost) text += fmt::format(" and {} more", ranks.size() - kMost);
  return text;
}

/// Ranks that wait for `rank` and for nobody else's collective part.
std::vector<int> who_awaits(const std::vector<std::optional<Report>>& reports, int rank) {
  std::vector<int> waiting;
  for (const auto& report : reports) {
    if (!report || !report->waits || report->for_any) continue;
    const auto named =
        std::span(report->peers).first(static_cast<std::size_t>(std::min(report->num_peers, Report::kMostPeers)));
    if (std::find(named.begin(), named.end(), rank) != named.end()) waiting.push_back(report->rank);
  }
  return waiting;
}

std::vector<int> silent(const std::vector<std::optional<Report>>& reports) {
  std::vector<int> ranks;
  for (std::size_t rank = 0; rank < reports.size(); ++rank)
    if (!reports[rank]) ranks.push_back(static_cast<int>(rank));
  return ranks;
}

template <class Predicate>
std::vector<int> those(const std::vector<std::optional<Report>>& reports, Predicate&& predicate) {
  std::vector<int> ranks;
  for (const auto& report : reports)
    if (report && predicate(*report)) ranks.push_back(report->rank);
  return ranks;
}

}  // namespace

Culprits culprits(const std::vector<std::optional<Report>>& reports) {
  if (const auto quiet = silent(reports); !quiet.empty()) {
    Culprits found;
    for (const int rank : quiet) {
      const auto waiting = who_awaits(reports, rank);
      if (waiting.empty()) continue;
      found.ranks.push_back(rank);
      found.reason += fmt::format("{}rank {} {} for {}", found.reason.empty() ? "" : "; ", list(waiting),
                                  waiting.size() == 1 ? "waits" : "wait", rank);
    }
    if (found.ranks.empty()) return {quiet, "no answer"};
    found.reason = "no answer, and " + found.reason;
    return found;
  }
  if (auto failed = those(reports, [](const Report& r) { return r.error[0] != 0; }); !failed.empty())
    return {failed, "an MPI call failed there"};
  if (auto busy = those(reports, [](const Report& r) { return !r.waits; }); !busy.empty())
    return {busy, "waits for nobody"};

  std::int64_t first_step = reports[0]->step, last_step = first_step;
  double longest_s = 0, shortest_s = reports[0]->waited_s;
  for (const auto& report : reports) {
    first_step = std::min(first_step, report->step);
    last_step = std::max(last_step, report->step);
    longest_s = std::max(longest_s, report->waited_s);
    shortest_s = std::min(shortest_s, report->waited_s);
  }
  // A rank that has come to its wait only now is what the others waited for. What lies within a poll or two is no
  // order.
  if (constexpr double kClear_s = 0.5; longest_s - shortest_s > kClear_s)
    return {those(reports, [&](const Report& r) { return r.waited_s < shortest_s + kClear_s / 2; }),
            fmt::format("came to its wait {:.1f} s after the first", longest_s - shortest_s)};
  if (first_step < last_step)
    return {those(reports, [&](const Report& r) { return r.step == first_step; }),
            fmt::format("still in step {}, others in step {}", first_step, last_step)};
  return {{}, "all ranks wait for each other in the same step: a message was lost, or they do not run the same"};
}

std::string diagnosis(const std::vector<std::optional<Report>>& reports, const std::vector<std::string>& hosts,
                      int told_by, const std::string& transport) {
  const auto quiet = silent(reports);
  const auto heard = static_cast<int>(reports.size() - quiet.size());
  std::string text = fmt::format("moesaic: who waits for whom, by rank {}, {} of {} ranks heard; transport: {}\n",
                                 told_by, heard, reports.size(), transport);
  for (const auto& report : reports) {
    if (!report) continue;
    Line line;
    report->describe(line);
    text += fmt::format("moesaic:   {}\n", line.text());
  }
  if (!quiet.empty())
    text += fmt::format("moesaic:   no word from rank {}: stopped, dead, cut off, or busy computing\n",
                        list(quiet, &hosts));
  const Culprits found = culprits(reports);
  text += found.ranks.empty()
              ? fmt::format("moesaic: likely culprit: none stands out: {}\n", found.reason)
              : fmt::format("moesaic: likely culprit: rank {}: {}\n", list(found.ranks, &hosts), found.reason);
  text += "moesaic: the job ends; if that rank was only slow, give a longer --wait-timeout\n";
  return text;
}

}  // namespace moesaic::comm
