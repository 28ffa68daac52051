#pragma once

#include <vector>

namespace moesaic::measure {

/// Statistics of repeated measurements of one thing, in their unit.
struct Statistics {
  double mean = 0, deviation = 0;  ///< deviation of the samples (n - 1); 0 of a single one
  double least = 0, median = 0, most = 0;
  double p99 = 0;  ///< the least sample that at most 1 % are above
};
/// samples must not be empty.
Statistics statistics(std::vector<double> samples);

}  // namespace moesaic::measure
