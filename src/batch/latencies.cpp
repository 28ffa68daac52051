#include "batch/latencies.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.hpp"

namespace moesaic::batch {
namespace {

constexpr double kShortest_s = 1e-7, kGrowth = 1.01, kMillisecond = 1e-3;

}  // namespace

void Distribution::add(double seconds) {
  const double steps = std::log(std::max(seconds, kShortest_s) / kShortest_s) / std::log(kGrowth);
  const auto bucket = static_cast<std::size_t>(steps);
  if (bucket >= buckets_.size()) buckets_.resize(bucket + 1);
  ++buckets_[bucket];
  ++count_;
  sum_ += seconds;
}

double Distribution::quantile(double fraction) const {
  const auto wanted = static_cast<std::int64_t>(std::ceil(fraction * static_cast<double>(count_)));
  std::int64_t seen = 0;
  for (std::size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
    seen += buckets_[bucket];
    if (seen >= wanted) return kShortest_s * std::pow(kGrowth, static_cast<double>(bucket) + 0.5);
  }
  return 0;
}

void Latencies::add(const Continuation& result) {
  e2el_.times.add(result.total_s);
  if (result.tokens.empty()) return;
  ttft_.times.add(result.first_token_s);
  double sum = 0;
  for (const float gap : result.gaps_s) {
    itl_.times.add(gap);
    sum += gap;
  }
  if (!result.gaps_s.empty()) tpot_.times.add(sum / static_cast<double>(result.gaps_s.size()));
}

std::string Latencies::table() const {
  std::string table =
      fmt::format("{:<8}{:>12}{:>12}{:>12}{:>10}", "latency", "mean (ms)", "median (ms)", "p99 (ms)", "count");
  for (const Named* each : {&ttft_, &tpot_, &itl_, &e2el_})
    table += fmt::format("\n{:<8}{:>12.2f}{:>12.2f}{:>12.2f}{:>10}  {}", each->name, each->times.mean() / kMillisecond,
                         each->times.quantile(0.5) / kMillisecond, each->times.quantile(0.99) / kMillisecond,
                         each->times.count(), each->meaning);
  return table;
}

nlohmann::json Latencies::json() const {
  nlohmann::json all;
  for (const Named* each : {&ttft_, &tpot_, &itl_, &e2el_})
    all[std::string(each->name) + "_ms"] = {{"mean", each->times.mean() / kMillisecond},
                                            {"median", each->times.quantile(0.5) / kMillisecond},
                                            {"p99", each->times.quantile(0.99) / kMillisecond},
                                            {"count", each->times.count()}};
  return all;
}

}  // namespace moesaic::batch
