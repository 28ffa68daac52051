#pragma once

#include "apps/bench/dispatch_job.hpp"
#include "apps/bench/table.hpp"

namespace moesaic::apps::bench {

/// Medians over repetitions of the slowest rank's microseconds; nothing where no bytes travel.
struct RawTimes {
  std::optional<double> alltoallv_us, padded_us, pairwise_us;
};

/// Columns of the table; the formulas are in docs/communication-bench.md.
std::vector<Column> dispatch_columns();

/// Rank 0: all that is known of one algorithm on one load.
Record dispatch_record(const DispatchJob& job, const DispatchResult& result, const RawTimes& raw);

}  // namespace moesaic::apps::bench
