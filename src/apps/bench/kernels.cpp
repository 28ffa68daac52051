#include <map>

#include "apps/bench/bench.hpp"
#include "apps/command.hpp"
#include "apps/parse_options.hpp"
#include "apps/results.hpp"
#include "base/log.hpp"
#include "base/out_of_memory.hpp"
#include "config/grok1.hpp"
#include "measure/kernel_case.hpp"
#include "measure/limits.hpp"
#include "synthetic/synthesize.hpp"

namespace moesaic::apps::bench {
namespace {

struct KernelOptions {
  std::string preset, rows, threads, isa, numerics;
  std::int64_t memory_mib = 1024, context = 2048;
  float seconds = 0.3f;
  OutputFormat format = OutputFormat::kMarkdown;
};

/// The limits with the same number of threads, in the same run.
struct KernelLimits {
  std::map<Factors, Limit> peaks;  // those that the cases are made of
  Limit read;
  bool right() const {
    return read.right && std::all_of(peaks.begin(), peaks.end(), [](const auto& peak) { return peak.second.right; });
  }
};

KernelLimits measure_limits(const comm::Communicator& self, const cpu::PeakLoops& loops,
                            const std::vector<KernelCase>& cases, std::int64_t memory_bytes, int num_threads) {
  KernelLimits limits;
  for (const KernelCase& test : cases)
    if (!limits.peaks.contains(test.factors))
      limits.peaks[test.factors] = multiply_add_peak(self, loops, test.factors, num_threads);
  const ReadMemory memory(memory_bytes, num_threads);
  limits.read = read_bandwidth(self, loops, memory.bytes(), num_threads, memory.sum());
  return limits;
}

/// Microseconds a call: at least five, and as many as the time allows, after two that are left out.
Statistics time_calls(const KernelCase& test, double seconds) {
  using Clock = std::chrono::steady_clock;
  constexpr std::size_t kWarmUpCalls = 2, kLeastCalls = 5;
  std::size_t call = 0;
  for (; call < kWarmUpCalls; ++call) test.run(call);
  std::vector<double> times_us;
  for (double total_us = 0; times_us.size() < kLeastCalls || total_us < seconds * 1e6; ++call) {
    const auto start = Clock::now();
    test.run(call);
    times_us.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
    total_us += times_us.back();
  }
  return statistics(std::move(times_us));
}

Record record_of(const KernelCase& test, const Compute& compute, int num_threads, const KernelLimits& limits,
                 const Statistics& times_us, const std::optional<std::string>& wrong) {
  const double gmacs = test.multiply_adds / times_us.median / 1e3, gbps = test.read_bytes / times_us.median / 1e3;
  const double peak_gmacs = limits.peaks.at(test.factors).rate.median;
  return {{"op", test.op},
          {"numerics", name(compute.numerics())},
          {"n_rows", test.num_rows},
          {"shape", fmt::format("{} -> {}", test.num_inputs, test.num_columns)},
          {"n_threads", num_threads},
          {"time_us", times_us.median},
          {"least_us", times_us.least},
          {"most_us", times_us.most},
          {"gmacs", gmacs},
          {"factors", name(test.factors)},
          {"peak_gmacs", peak_gmacs},
          {"share_of_peak", 100 * gmacs / peak_gmacs},
          {"gbps", gbps},
          {"read_gbps", limits.read.rate.median},
          {"share_of_read", 100 * gbps / limits.read.rate.median},
          {"right", !wrong},
          {"wrong", wrong ? Record(*wrong) : Record(nullptr)}};
}

constexpr Column kColumns[] = {{"op", "operation"},
                               {"shape", "inputs -> columns"},
                               {"n_rows", "rows"},
                               {"n_threads", "threads"},
                               {"time_us", "us a call", 1},
                               {"gmacs", "GMAC/s", 1},
                               {"peak_gmacs", "peak GMAC/s", 1},
                               {"share_of_peak", "% of peak", 1},
                               {"gbps", "GB/s", 1},
                               {"read_gbps", "read GB/s", 1},
                               {"share_of_read", "% of read", 1},
                               {"right", "result"}};

KernelWorkload workload_of(const KernelOptions& options) {
  const auto config = preset(options.preset);
  if (!config) fail("--preset is '{}', expected tiny, mini or slice", options.preset);
  return {*config, parse_list(options.rows, "rows", 1, 1 << 16), options.memory_mib << 20, options.context};
}

po::options_description kernel_options(KernelOptions& bench) {
  po::options_description options("kernels: (D -> F/8), (F/8 -> D) and attention (inputs: keys)");
  auto add = options.add_options();
  add("preset", po::value(&bench.preset)->default_value("slice"), "geometry: tiny, mini or slice (Grok-1's)");
  add("rows", po::value(&bench.rows)->default_value("1,2,4,8,12,48,192"), "rows a call, a list");
  add("threads", po::value(&bench.threads), "threads, a list; default: as many as generate would use");
  add("numerics", po::value(&bench.numerics)->default_value("w8a16"), "numeric mode");
  add("isa", po::value(&bench.isa)->default_value("auto"), backend::kIsaOptions);
  add("context",
      ranged(&bench.context, "context", std::int64_t{1}, std::int64_t{1} << 20)->default_value(bench.context),
      "keys that attention's last row sees");
  add("memory",
      ranged(&bench.memory_mib, "memory", std::int64_t{1}, std::int64_t{1} << 20)->default_value(bench.memory_mib),
      "MiB of each kind of weights or pages; far more than the caches hold");
  add("seconds", ranged(&bench.seconds, "seconds", 0.0f, 3600.0f)->default_value(bench.seconds, "0.3"),
      "of each measurement");
  options.add(output_options(bench.format));
  return options;
}

}  // namespace

int run_kernels(const std::vector<std::string>& arguments) {
  KernelOptions bench;
  if (parse("bench kernels", arguments, kernel_options(bench)).contains("help")) return kSuccess;
  const auto numerics = numerics_from(bench.numerics);
  if (!numerics) fail("--numerics is '{}'", bench.numerics);
  const comm::Communicator world = comm::Communicator::world();
  if (world.size() > 1) fail("{} ranks, expected 1: the kernels know no ranks; give --threads", world.size());
  open_results({});
  const Compute compute = Compute::cpu(bench.isa, *numerics);
  const KernelWorkload workload = workload_of(bench);
  for (const std::int64_t num_rows : workload.row_counts)
    if (num_rows > workload.context) fail("--rows {}: more than --context {}", num_rows, workload.context);
  const auto thread_counts = bench.threads.empty() ? std::vector<std::int64_t>{threads_per_rank(world, 0)}
                                                   : parse_list(bench.threads, "threads", 1, 4096);

  const auto most_threads = static_cast<int>(*std::max_element(thread_counts.begin(), thread_counts.end()));
  log_warnings(world, set_threads(world, most_threads).warnings);
  const MemoryPurpose purpose("matrices, their results and memory to read; a smaller --memory takes less");
  spdlog::info("making weights and reference results");
  std::vector<KernelCase> cases = matrix_cases(compute, workload);
  for (KernelCase& test : attention_cases(compute, workload)) cases.push_back(std::move(test));

  Table table(bench.format, this_testbed(world, compute.backend->name()), {std::begin(kColumns), std::end(kColumns)});
  bool right = true;
  for (const std::int64_t count : thread_counts) {
    const int num_threads = static_cast<int>(count);
    set_threads(world, num_threads);
    const KernelLimits limits = measure_limits(world, cpu::peak_loops(cpu::isa_from_option(bench.isa)), cases,
                                               workload.memory_bytes, num_threads);
    right &= limits.right();
    for (const KernelCase& test : cases) {
      const auto wrong = test.check();
      if (wrong)
        spdlog::error("{} {} rows {} -> {}: {}", test.op, test.num_rows, test.num_inputs, test.num_columns, *wrong);
      right &= !wrong;
      table.add(record_of(test, compute, num_threads, limits, time_calls(test, bench.seconds), wrong));
    }
  }
  print(table);
  return right ? kSuccess : kFailed;
}

}  // namespace moesaic::apps::bench
