#include "measure/statistics.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"

namespace moesaic::measure {

Statistics statistics(std::vector<double> samples) {
  MOESAIC_CHECK(!samples.empty(), "{} samples", samples.size());
  std::sort(samples.begin(), samples.end());
  const std::size_t n = samples.size();
  Statistics s;
  s.least = samples.front();
  s.most = samples.back();
  s.p99 = samples[(99 * n + 99) / 100 - 1];
  s.median = (samples[(n - 1) / 2] + samples[n / 2]) / 2;
  for (const double sample : samples) s.mean += sample / static_cast<double>(n);
  double squares = 0;
  for (const double sample : samples) squares += (sample - s.mean) * (sample - s.mean);
  if (n > 1) s.deviation = std::sqrt(squares / static_cast<double>(n - 1));
  return s;
}

}  // namespace moesaic::measure
