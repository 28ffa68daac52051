#include "measure/calibration.hpp"

#include <algorithm>
#include <ctime>
#include <map>

#include "base/log.hpp"
#include "base/parallel.hpp"
#include "config/grok1.hpp"
#include "host/memory.hpp"
#include "host/node.hpp"
#include "measure/kernel_case.hpp"
#include "measure/link_costs.hpp"
#include "moe/routing.hpp"
#include "start/memory_check.hpp"

namespace moesaic::measure {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kWidth = 2048;  ///< of the measured matrices

/// How much of a processor this thread has had; waiting in MPI counts, since it polls.
class Share {
 public:
  Share() : cpu_s_(cpu_seconds()), start_(Clock::now()) {}
  double of_processor() const {
    return (cpu_seconds() - cpu_s_) / std::chrono::duration<double>(Clock::now() - start_).count();
  }

 private:
  static double cpu_seconds() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }
  double cpu_s_;
  Clock::time_point start_;
};

/// Median microseconds of calls, on average over the ranks, which begin together.
template <class Call>
double median_us(const comm::Communicator& world, int num_calls, Call&& call) {
  constexpr int kWarmUpCalls = 2;
  std::vector<double> times_us;
  world.barrier();
  for (int i = -kWarmUpCalls; i < num_calls; ++i) {
    const auto start = Clock::now();
    call(static_cast<std::size_t>(i + kWarmUpCalls));
    if (i >= 0) times_us.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
  }
  return world.sum(statistics(times_us).median) / world.size();
}

/// Calls that take about as long together, however many rows they have.
int calls_for(std::int64_t rows, bool short_run) {
  return short_run ? 3 : static_cast<int>(std::clamp<std::int64_t>(400 / rows, 7, 50));
}

KernelWorkload workload(bool short_run) {
  KernelWorkload workload;
  workload.config = kGrok1;
  workload.config.emb_size = kWidth;
  workload.config.ffn_size = kNumLeaves * kWidth;
  workload.config.num_q_heads = 24;
  workload.config.num_kv_heads = 4;
  workload.row_counts = {1, 2, 4, 8, 16, 32, 64, 192};
  workload.memory_bytes = short_run ? std::int64_t{16} << 20 : std::int64_t{256} << 20;
  workload.context = 1024;
  if (short_run) workload.row_counts = {1, 4};
  return workload;
}

/// Picoseconds by rows of the cases of an operation; the mean where there are several shapes. per_row: multiply-adds a
/// row that `at()` is multiplied with.
plan::RowCurve curve_of(const comm::Communicator& world, const std::vector<KernelCase>& cases, const std::string& op,
                        double multiply_adds_a_unit, bool short_run) {
  plan::RowCurve curve;
  std::map<std::int64_t, std::pair<double, int>> sums;
  for (const KernelCase& test : cases) {
    if (test.op != op) continue;
    const double us = median_us(world, calls_for(test.num_rows, short_run), test.run);
    const double units = test.multiply_adds / static_cast<double>(test.num_rows) / multiply_adds_a_unit;
    auto& [sum, count] = sums[test.num_rows];
    sum += us * 1e6 / units;
    ++count;
  }
  for (const auto& [rows, sum] : sums) curve.points.push_back({rows, sum.first / sum.second});
  return curve;
}

plan::KernelCosts measure_kernels(const comm::Communicator& world, const std::vector<KernelCase>& cases,
                                  bool short_run) {
  return {curve_of(world, cases, "gemm", 1, short_run), curve_of(world, cases, "gated_gelu", 1, short_run),
          curve_of(world, cases, "attention", 2, short_run)};
}

/// What is little work a row: a value each of norm, sum and rounding, and of the router.
void measure_rows(const comm::Communicator& world, const Compute& compute, plan::ComputeCosts& costs) {
  constexpr std::int64_t kRows = 64, kExperts = 8, kActive = 2;
  moe::Routing routing(*compute.backend);
  routing.resize(kRows * kActive);
  constexpr int kCalls = 50;
  const auto values = random_floats(static_cast<std::size_t>(kRows * kWidth), 3);
  const auto weights = random_floats(static_cast<std::size_t>(kExperts * kWidth), 4);
  std::vector<float> out(values.size());
  const auto x = at(values.data()), w = at(weights.data());
  const auto y = at(out.data());
  const backend::Kernels& k = compute.kernels();
  backend::Queue& queue = *compute.queue;
  const double elems = static_cast<double>(kRows * kWidth);
  costs.norm_ps =
      1e6 / elems * median_us(world, kCalls, [&](std::size_t) { k.rms_norm(queue, x, w, kRows, kWidth, 1e-5f, y); });
  const double add_us = median_us(world, kCalls, [&](std::size_t) { k.add(queue, x, y, kRows * kWidth, y); });
  const double round_us = median_us(
      world, kCalls, [&](std::size_t) { k.to_activation(queue, x, kWidth, kRows, kWidth, 1, y.as<std::byte>()); });
  costs.value_ps = 1e6 / elems * (add_us + round_us) / 2;
  costs.router_ps = 1e6 / elems / static_cast<double>(kExperts) * median_us(world, kCalls, [&](std::size_t) {
                      k.route(queue, x, kRows, {kWidth, kExperts, kActive}, w, routing.rows());
                    });
}

void measure_overheads(const comm::Communicator& world, int num_threads, plan::ComputeCosts& costs) {
  constexpr int kCalls = 2000;
  costs.call_us = num_threads == 1
                      ? 0
                      : median_us(world, kCalls, [&](std::size_t) { parallel_for(num_threads, [](std::int64_t) {}); });
  std::vector<std::byte> step(256);  // of a small batch
  const comm::Communicator self = comm::Communicator::self();
  costs.step_us = median_us(world, kCalls, [&](std::size_t) { self.broadcast(step, 0); });
}

plan::ComputeCosts measure_compute(const comm::Communicator& world, const CalibrationOptions& options,
                                   const std::vector<std::vector<KernelCase>>& cases, int num_threads) {
  plan::ComputeCosts costs;
  costs.num_threads = num_threads;
  const cpu::PeakLoops& loops = cpu::peak_loops(cpu::isa_from_option(options.isa));
  {
    const ReadMemory memory(options.short_run ? 16 << 20 : kReadMemory_bytes / 2, num_threads);
    const auto read = read_bandwidth(world, loops, memory.bytes(), num_threads, memory.sum(), 1);
    costs.read_gbps = read.rate.median / world.size();
  }
  for (const Factors factors : kAllFactors)
    costs.peak_gmacs[static_cast<std::size_t>(factors)] =
        multiply_add_peak(world, loops, factors, num_threads).rate.median / world.size();
  for (std::size_t i = 0; i < options.numerics.size(); ++i)
    costs.kernels[options.numerics[i]] = measure_kernels(world, cases[i], options.short_run);
  measure_rows(world, Compute::cpu(options.isa, Numerics::kW8A16), costs);
  measure_overheads(world, num_threads, costs);
  return costs;
}

}  // namespace

plan::Machine calibrate(const comm::Communicator& world, const CalibrationOptions& options) {
  const Share share;
  plan::Machine machine;
  const RankSites sites = rank_sites(world);
  const plan::RankPlacement placement = sites.placement();
  machine.ranks_per_node = placement.ranks_per_node;
  machine.ranks_per_numa = placement.ranks_per_numa;
  machine.name = host::cpu_name();
  machine.memory_gb =
      1e-9 * world.min(std::min(static_cast<double>(host::available_memory_bytes()) / machine.ranks_per_node,
                                static_cast<double>(process_memory_left_bytes())));
  machine.source =
      fmt::format("measured by moesaic {}: {} rank{}, {} a node, {} kernels", MOESAIC_VERSION, world.size(),
                  world.size() == 1 ? "" : "s", machine.ranks_per_node, cpu::name(cpu::isa_from_option(options.isa)));
  measure_links(world, sites, plan::machine_preset("ordinary"), machine);
  spdlog::info("calibrate: links done");

  const KernelWorkload shapes = workload(options.short_run);
  std::vector<std::vector<KernelCase>> cases;
  for (const Numerics numerics : options.numerics) {
    const Compute compute = Compute::cpu(options.isa, numerics);
    cases.push_back(matrix_cases(compute, shapes));
    for (KernelCase& test : attention_cases(compute, shapes)) cases.back().push_back(std::move(test));
  }
  const comm::Communicator node = world.split_node();
  for (const std::int64_t num_threads : options.thread_counts) {
    set_threads(node, static_cast<int>(num_threads), options.bind);
    machine.compute.push_back(measure_compute(world, options, cases, static_cast<int>(num_threads)));
    spdlog::info("calibrate: {} thread{} done", num_threads, num_threads == 1 ? "" : "s");
  }
  if (const double least = world.min(share.of_processor()); least < 0.9)
    spdlog::warn("calibrate: a rank had {:.0f} % of a processor: something else runs here; measure again without it",
                 100 * least);
  std::string text = plan::to_text(machine);  // rank 0's for all: means and texts are the same then
  world.broadcast(text, 0);
  return plan::machine_from_text(text, "calibration");
}

}  // namespace moesaic::measure
