#include <algorithm>

#include "apps/command.hpp"
#include "apps/options.hpp"
#include "apps/parse_options.hpp"
#include "apps/results.hpp"
#include "base/log.hpp"
#include "comm/agree.hpp"
#include "measure/calibration.hpp"

namespace moesaic::apps {
namespace {

void print_summary(const plan::Machine& machine) {
  print("{}\n{}\n\n{:>8} {:>12} {:>12} {:>14} {:>14} {:>9}\n", machine.name, machine.source, "link", "latency (us)",
        "message (us)", "stream (GB/s)", "shared (GB/s)", "");
  for (const plan::LinkClass of : plan::kAllLinkClasses) {
    const plan::LinkCost& link = machine.link(of);
    print("{:>8} {:>12.2f} {:>12.2f} {:>14.2f} {:>14.2f} {:>9}\n", name(of), link.latency_us, link.message_us,
          link.stream_gbps, link.shared_gbps, link.measured ? "measured" : "assumed");
  }
  print("\n{:>8} {:>12} {:>12} {:>12} {:>12} {:>12} {:>10}\n", "threads", "read (GB/s)", "fp32 GMAC/s", "bf16 GMAC/s",
        "int8 GMAC/s", "int16 GMAC/s", "call (us)");
  for (const plan::ComputeCosts& c : machine.compute)
    print("{:>8} {:>12.1f} {:>12.1f} {:>12.1f} {:>12.1f} {:>12.1f} {:>10.2f}\n", c.num_threads, c.read_gbps,
          c.peak_gmacs[0], c.peak_gmacs[1], c.peak_gmacs[2], c.peak_gmacs[3], c.call_us);
  print("\n{:>8} {:>9} {:>22} {:>22}\n", "threads", "numerics", "1 row, GB/s (% read)", "most rows, GMAC/s (%)");
  for (const plan::ComputeCosts& c : machine.compute)
    for (const Numerics numerics : {Numerics::kW8A16, Numerics::kW8I16, Numerics::kW8A8}) {
      const plan::RowCurve& curve = c.of(numerics).matrix_ps;
      const auto& last = curve.points.back();
      const double gbps = 1e3 / curve.points.front().cost, gmacs = 1e3 * static_cast<double>(last.rows) / last.cost;
      print("{:>8} {:>9} {:>15.1f} ({:>3.0f}) {:>15.1f} ({:>3.0f})\n", c.num_threads, moesaic::name(numerics), gbps,
            100 * gbps / c.read_gbps, gmacs, 100 * gmacs / c.peak_gmacs[plan::peak_of(input_type(numerics))]);
    }
}

}  // namespace

int run_calibrate(const std::vector<std::string>& arguments) {
  std::string out, threads, isa;
  measure::CalibrationOptions calibration;
  po::options_description options("calibrate (all ranks that the job would have on a node, under mpirun)");
  // clang-format off
  options.add_options()
      ("out", po::value(&out)->required(), "the file for plan --machine and --machine of runs")
      ("threads,t", po::value(&threads), "threads of each rank, a list; default: as many as generate would use")
      ("isa", po::value(&isa)->default_value("auto"), backend::kIsaOptions)
      ("quick", po::bool_switch(&calibration.short_run), "a few calls on little memory: for trying out, not for predictions");
  // clang-format on
  options.add(wait_options("300")).add(result_options(OutputOption::kTaken));
  if (parse("calibrate", arguments, options).contains("help")) return kSuccess;
  const comm::Communicator world = comm::Communicator::world();
  comm::on_root(world, [&] {
    check_writable(out, "out", {});
    open_results({out});
  });
  comm::together(world, [&] { calibration.isa = backend::open({"cpu", isa}, Numerics::kF32)->name(); });
  calibration.thread_counts = threads.empty() ? std::vector<std::int64_t>{threads_per_rank(world.split_node(), 0)}
                                              : parse_list(threads, "threads", 1, 4096);
  calibration.numerics = {Numerics::kW8A16, Numerics::kW8I16, Numerics::kW8A8, Numerics::kW16A16, Numerics::kW4A16};
  const plan::Machine machine = measure::calibrate(world, calibration);
  comm::on_root(world, [&] {
    write_text(out, plan::to_text(machine));
    print_summary(machine);
  });
  return kSuccess;
}

}  // namespace moesaic::apps
