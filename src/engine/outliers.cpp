#include "engine/outliers.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"

namespace moesaic {
namespace {

double max_over_rms(std::span<const float> row) {
  double largest = 0, squares = 0;
  for (const double x : row) {
    largest = std::max(largest, std::abs(x));
    squares += x * x;
  }
  return squares == 0 ? 0 : largest / std::sqrt(squares / static_cast<double>(row.size()));
}

}  // namespace

Outliers::Outliers(std::int64_t num_layers)
    : num_layers_(num_layers), largest_(static_cast<std::size_t>(2 * num_layers + 1)) {}

void Outliers::see(ProbePoint point, const TokenBatch&, Range rows, std::span<const float> values) {
  std::int64_t place = 2 * num_layers_;  // of the head
  if (point.operation == Operation::kAttnNorm)
    place = point.layer;
  else if (point.operation == Operation::kMoeNorm)
    place = num_layers_ + point.layer;
  else if (point.operation != Operation::kFinalNorm)
    return;
  double& largest = largest_[static_cast<std::size_t>(place)];
  for_each_row(
      rows, [&](std::size_t, std::span<const float> row) { largest = std::max(largest, max_over_rms(row)); }, values);
}

Outliers::Report Outliers::report(const comm::Communicator& world) {
  world.reduce(largest_, MPI_MAX);
  Report report{"outliers: largest max/rms of the normalised rows, inputs of attention, of the experts, of the head\n",
                {}};
  const auto check = [&](const std::string& where, double value) {
    if (value > kMostOutlier)
      report.warnings.push_back(fmt::format(
          "{}: max/rms {:.0f} is above {:.0f}; 16-bit integers lose accuracy there: compare with --numerics f32", where,
          value, kMostOutlier));
  };
  for (std::size_t layer = 0; layer < static_cast<std::size_t>(num_layers_); ++layer) {
    const double attention = largest_[layer], experts = largest_[static_cast<std::size_t>(num_layers_) + layer];
    report.table += fmt::format("  layer {:>3}  attention {:>6.1f}  experts {:>6.1f}\n", layer, attention, experts);
    check(fmt::format("layer {}, attention", layer), attention);
    check(fmt::format("layer {}, experts", layer), experts);
  }
  report.table += fmt::format("  head {:.1f}", largest_.back());
  check("head", largest_.back());
  return report;
}

}  // namespace moesaic
