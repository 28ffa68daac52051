#include "measure/payload_errors.hpp"

#include <algorithm>
#include <cmath>

namespace moesaic::measure {
namespace {

class Errors {
 public:
  void add_row(std::span<const float> expected, std::span<const float> found) {
    double squares = 0, largest = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const double value = static_cast<double>(expected[i]), error = std::abs(static_cast<double>(found[i]) - value);
      squares += value * value;
      error_squares_ += error * error;
      largest = std::max(largest, error);
    }
    squares_ += squares;
    if (squares > 0) largest_ = std::max(largest_, largest / std::sqrt(squares / static_cast<double>(expected.size())));
  }

  /// Collective: of all ranks' rows.
  RelativeError total(const comm::Communicator& world) const {
    const double squares = world.sum(squares_), error_squares = world.sum(error_squares_);
    return {squares > 0 ? std::sqrt(error_squares / squares) : 0, world.max(largest_)};
  }

 private:
  double squares_ = 0, error_squares_ = 0, largest_ = 0;
};

}  // namespace

PayloadErrors payload_errors(const comm::Communicator& world, moe::Dispatcher& rounded, moe::Dispatcher& as_is,
                             const StandInExperts& experts, GemmLayer* gemm, const LayerInput& input) {
  const std::int64_t num_rows = input.rows.rows(plan::StageRank{world.rank()}).size();
  Errors of_input;
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const std::byte* const n = input.n + bytes_of(row, experts.row_bytes());
    of_input.add_row(experts.values_of(n), experts.values_of(experts.as_experts_get(n).data()));
  }
  PayloadErrors errors{of_input.total(world), std::nullopt};
  if (!gemm) return errors;

  const std::size_t width = experts.width(), elems = static_cast<std::size_t>(num_rows) * width;
  moe::ExpertBatch batch(input.backend);
  const auto output = [&](moe::Dispatcher& dispatcher) {
    std::vector<float> m(elems);
    moe::pass_through(
        dispatcher, at(input.n), input.rows, input.routing, input.layer, batch, [&] { gemm->run_experts(batch); },
        at(m.data()));
    return m;
  };
  const std::vector<float> expected = output(as_is), found = output(rounded);
  Errors of_output;
  for (std::size_t first = 0; first < elems; first += width)
    of_output.add_row(std::span(expected).subspan(first, width), std::span(found).subspan(first, width));
  errors.output = of_output.total(world);
  return errors;
}

}  // namespace moesaic::measure
