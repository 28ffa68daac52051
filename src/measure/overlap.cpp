#include "measure/overlap.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/parallel.hpp"
#include "measure/compute.hpp"
#include "measure/statistics.hpp"

namespace moesaic::measure {
namespace {

using Clock = std::chrono::steady_clock;
using Microseconds = std::chrono::duration<double, std::micro>;

constexpr double kPanel_us = 20;  ///< about what a run of panels of an expert takes

/// Computes nothing for so long, in a loop like those of the experts.
void work(double us) {
  const auto panels = static_cast<std::int64_t>(std::lround(us / kPanel_us)) * num_threads();
  parallel_ranges(panels, 1, [](Range range) {
    for (auto panel = range.begin; panel < range.end; ++panel)
      for (const auto start = Clock::now(); Microseconds(Clock::now() - start).count() < kPanel_us;) {
      }
  });
}

/// Median of the slowest rank's microseconds.
template <class Timed>
double time_us(const comm::Communicator& world, int repetitions, Timed&& run) {
  std::vector<double> us;
  for (int i = 0; i < repetitions; ++i) {
    world.barrier();
    const auto start = Clock::now();
    run();
    us.push_back(world.max(Microseconds(Clock::now() - start).count()));
  }
  return statistics(us).median;
}

}  // namespace

double overlap_percent(const comm::Communicator& world, moe::Dispatcher& dispatcher, const LayerInput& input,
                       int repetitions) {
  moe::ExpertBatch batch(input.backend);
  const auto layer = [&](auto&& experts) {
    moe::pass_through(
        dispatcher, at(input.n), input.rows, input.routing, input.layer, batch, [&] { experts(batch.num_terms()); },
        at(input.m));
  };
  std::int64_t num_terms = 0;
  layer([&](std::int64_t terms) { num_terms += terms; });
  const double alone_us = time_us(world, repetitions, [&] { layer([](std::int64_t) {}); });
  const auto share_of = [&](std::int64_t terms) {
    return alone_us * static_cast<double>(terms) / static_cast<double>(std::max<std::int64_t>(1, num_terms));
  };
  const double experts_us = time_us(world, repetitions, [&] { work(num_terms == 0 ? 0 : alone_us); });
  const double overall_us =
      time_us(world, repetitions, [&] { layer([&](std::int64_t terms) { work(share_of(terms)); }); });
  return std::max(0.0, 100 - 100 * (overall_us - experts_us) / alone_us);
}

}  // namespace moesaic::measure
