#pragma once

#include "apps/bench/bench.hpp"
#include "measure/dispatch_job.hpp"

namespace moesaic::apps::bench {

/// Microseconds of the slowest rank, by repetition; none where no bytes travel.
struct RawTimes {
  std::vector<double> alltoallv_us, padded_us, pairwise_us;
};

/// Combine by itself in either order of its sums, microseconds of the slowest rank, by repetition; none unless asked
/// for.
struct SumTimes {
  std::vector<double> tree_us, arrival_us;
};

/// Columns of the table; the formulas are in docs/communication-bench.md.
std::vector<Column> dispatch_columns(bool sum_orders, bool gemm, bool rounded);

/// Rank 0: all that is known of one algorithm on one load.
Record dispatch_record(const DispatchJob& job, const DispatchResult& result, const RawTimes& raw, const SumTimes& sums);

}  // namespace moesaic::apps::bench
