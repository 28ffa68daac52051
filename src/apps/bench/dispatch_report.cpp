#include "apps/bench/dispatch_report.hpp"

#include <algorithm>
#include <numeric>

#include "measure/statistics.hpp"

namespace moesaic::apps::bench {
namespace {

/// Bytes of all pairs, by where they go.
struct Split {
  double self = 0, same_node = 0, other_node = 0;
  double all() const { return self + same_node + other_node; }
};

template <class List>
Split split(const plan::PairTraffic& pairs, const List& counts, const plan::Domains& nodes) {
  Split sum;
  for (const plan::StageRank from : pairs.ranks())
    for (const plan::StageRank to : pairs.ranks()) {
      const auto count = static_cast<double>(counts[pairs.at(from, to)]);
      const bool near = nodes.domain(from) == nodes.domain(to);
      (from == to ? sum.self : near ? sum.same_node : sum.other_node) += count;
    }
  return sum;
}

Record matrix(const plan::PairTraffic& pairs) {
  Record rows = Record::array();
  const std::int64_t ranks = pairs.num_ranks;
  for (std::ptrdiff_t from = 0; from < ranks; ++from)
    rows.push_back(
        std::vector<std::uint64_t>(pairs.bytes.begin() + from * ranks, pairs.bytes.begin() + (from + 1) * ranks));
  return rows;
}

double max_over_mean(const IdVector<plan::StageRank, std::int64_t>& list) {
  const auto sum = static_cast<double>(std::accumulate(list.begin(), list.end(), std::int64_t{0}));
  const auto most = static_cast<double>(std::ranges::max(list));
  return sum == 0 ? 1 : most * static_cast<double>(list.size()) / sum;
}

/// What the fixed order of the sums adds to dispatch and combine as they would be without it.
void add_sum_times(const SumTimes& sums, const std::vector<double>& totals_us, Record& record) {
  if (sums.tree_us.empty()) return;
  std::vector<double> percent;
  for (std::size_t i = 0; i < sums.tree_us.size(); ++i) {
    const double more_us = sums.tree_us[i] - sums.arrival_us[i];
    percent.push_back(100 * more_us / std::max(totals_us[i] - more_us, 1e-3));
  }
  record["sums_tree_us"] = statistics(sums.tree_us).median;
  record["sums_arrival_us"] = statistics(sums.arrival_us).median;
  record["exactness_percent"] = statistics(percent).median;
}

void add_error(const std::string& what, const RelativeError& error, Record& record) {
  record[what + "_rms_percent"] = 100 * error.rms;
  record[what + "_largest_percent"] = 100 * error.largest;
}

void add_times(const PhaseTimes& times, Record& record) {
  for (std::size_t i = 0; i < kNumPhases; ++i) {
    const auto phase = static_cast<DispatchPhase>(i);
    const Statistics all = statistics(times.all(phase));
    if (phase == DispatchPhase::kRoute && all.most == 0) continue;  // stand-ins have no router
    const std::string key(name(phase));
    record[key + "_min_us"] = all.least;
    record[key + "_p50_us"] = all.median;
    record[key + "_p99_us"] = all.p99;
    record[key + "_max_us"] = all.most;
  }
}

}  // namespace

std::vector<Column> dispatch_columns(bool sum_orders, bool gemm, bool rounded) {
  std::vector<Column> columns = {{"preset", "preset"},
                                 {"load", "load"},
                                 {"rows_a_rank", "rows/rank"},
                                 {"layout", "layout"},
                                 {"dispatch", "dispatch"},
                                 {"time_us", "time us", 1},
                                 {"dispatch_us", "disp. us", 1},
                                 {"combine_us", "comb. us", 1},
                                 {"transport_us", "transport us", 1},
                                 {"permute_p50_us", "permute us", 1},
                                 {"plan_p50_us", "plan us", 1},
                                 {"unpermute_p50_us", "unpermute us", 1},
                                 {"alltoallv_us", "Alltoallv us", 1},
                                 {"pairwise_us", "pairwise us", 1},
                                 {"share_of_alltoallv", "% of Alltoallv", 1},
                                 {"times_floor", "x pairwise", 2},
                                 {"algbw_gbps", "algbw GB/s logical", 2},
                                 {"busbw_gbps", "busbw GB/s logical", 2},
                                 {"physical_gbps", "wire GB/s physical", 2},
                                 {"node_copies", "copies/row to nodes", 3},
                                 {"overlap_percent", "overlap %", 0},
                                 {"imbalance", "max/mean", 2},
                                 {"num_wrong", "#wrong"},
                                 {"hash8", "hash"},
                                 {"right", "result"}};
  if (gemm) columns.insert(columns.end() - 1, {{"route_p50_us", "route us", 1}, {"experts_p50_us", "GEMM us", 1}});
  if (sum_orders)
    columns.insert(columns.end() - 1, {{"sums_tree_us", "sums by tree us", 1},
                                       {"sums_arrival_us", "by arrival us", 1},
                                       {"exactness_percent", "cost of exactness %", 1}});
  if (rounded)
    columns.insert(columns.end() - 1,
                   {{"input_rms_percent", "rows: rms error %", 3}, {"input_largest_percent", "largest %", 2}});
  if (rounded && gemm)
    columns.insert(columns.end() - 1,
                   {{"output_rms_percent", "outputs: rms error %", 3}, {"output_largest_percent", "largest %", 2}});
  return columns;
}

Record dispatch_record(const DispatchJob& job, const DispatchResult& result, const RawTimes& raw,
                       const SumTimes& sums) {
  const PhaseTimes& times = result.times;
  const double time_us = statistics(times.slowest(DispatchPhase::kTotal)).median;
  const double transport_us = statistics(times.slowest(DispatchPhase::kTransport)).median;
  const auto ranks = static_cast<double>(job.terms().size()), steps = static_cast<double>(job.num_steps());
  const plan::DispatchTraffic& logical = job.logical();
  const Split to = split(logical.dispatch, logical.dispatch.bytes, job.nodes());
  const Split back = split(logical.combine, logical.combine.bytes, job.nodes());
  const Split wire = split(result.counted.dispatch, result.counted.dispatch.bytes, job.nodes());
  const Split rows = split(result.analytic.dispatch, result.analytic.dispatch.rows, job.nodes());
  const auto gbps = [&](double bytes) { return bytes / steps / ranks / time_us / 1e3; };
  const auto median = [](const std::vector<double>& us) {
    return us.empty() ? Record(nullptr) : Record(statistics(us).median);
  };
  /// Each repetition against the exchange beside it: bandwidth changes from one minute to the next.
  const auto median_ratio = [](double factor, const std::vector<double>& over, const std::vector<double>& under) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < std::min(over.size(), under.size()); ++i)
      ratios.push_back(factor * over[i] / std::max(under[i], 1e-3));
    return ratios.empty() ? Record(nullptr) : Record(statistics(ratios).median);
  };
  const std::vector<double> transports_us = times.slowest(DispatchPhase::kTransport);
  const double logical_bytes = to.all() + back.all();

  Record record = {{"time_us", time_us},
                   {"dispatch_us", statistics(times.slowest(DispatchPhase::kDispatch)).median},
                   {"combine_us", statistics(times.slowest(DispatchPhase::kCombine)).median},
                   {"transport_us", transport_us},
                   {"alltoallv_us", median(raw.alltoallv_us)},
                   {"padded_alltoall_us", median(raw.padded_us)},
                   {"pairwise_us", median(raw.pairwise_us)},
                   {"share_of_alltoallv", median_ratio(100, raw.alltoallv_us, transports_us)},
                   {"times_floor", median_ratio(1, transports_us, raw.pairwise_us)},
                   {"algbw_gbps", gbps(logical_bytes)},
                   {"busbw_gbps", gbps(logical_bytes - to.self - back.self)},
                   {"physical_gbps", gbps(wire.all())},
                   {"logical_bytes", logical_bytes / steps},
                   {"logical_self_bytes", (to.self + back.self) / steps},
                   {"logical_same_node_bytes", (to.same_node + back.same_node) / steps},
                   {"logical_other_node_bytes", (to.other_node + back.other_node) / steps},
                   {"wire_bytes", wire.all() / steps},
                   {"wire_same_node_bytes", wire.same_node / steps},
                   {"wire_other_node_bytes", wire.other_node / steps},
                   {"wire_bytes_right", result.bytes_right},
                   {"node_copies", job.num_rows() == 0 ? 0.0 : rows.other_node / static_cast<double>(job.num_rows())},
                   {"overlap_percent", result.overlap_percent},
                   {"imbalance", max_over_mean(job.terms())},
                   {"num_checked", result.num_checked},
                   {"num_wrong", result.num_wrong},
                   {"hash", result.hash},
                   {"hash8", result.hash.substr(0, 8)}};
  if (result.payload_errors) {
    add_error("input", result.payload_errors->input, record);
    if (result.payload_errors->output) add_error("output", *result.payload_errors->output, record);
  }
  add_times(times, record);
  add_sum_times(sums, times.slowest(DispatchPhase::kTotal), record);
  record["idle_us_by_rank"] = times.medians(DispatchPhase::kWait);
  record["terms_by_rank"] = job.terms();
  record["wire_bytes_by_pair"] = matrix(result.counted.dispatch);
  return record;
}

}  // namespace moesaic::apps::bench
