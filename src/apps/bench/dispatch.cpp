#include <algorithm>
#include <map>

#include "apps/bench/bench.hpp"
#include "apps/bench/dispatch_options.hpp"
#include "apps/bench/dispatch_report.hpp"
#include "apps/command.hpp"
#include "apps/parse_options.hpp"
#include "apps/results.hpp"
#include "base/log.hpp"
#include "comm/agree.hpp"
#include "comm/locality.hpp"
#include "engine/routing_trace.hpp"
#include "measure/raw_exchange.hpp"
#include "measure/statistics.hpp"
#include "measure/sum_orders.hpp"
#include "plan/dispatch_policy.hpp"
#include "start/placed_grid.hpp"
#include "start/threads.hpp"

namespace moesaic::apps::bench {
namespace {

constexpr std::int64_t kLoadSteps = 4;  ///< of a load, unless told otherwise

/// Both orders after each repetition, taking turns in coming first.
class TimedSums {
 public:
  explicit TimedSums(const DispatchJob& job) : orders_(job) {
    for (std::size_t s = 0; s < static_cast<std::size_t>(job.num_steps()); ++s) agree_ &= orders_.agree(s);
  }
  void run(std::size_t step) {
    const auto tree = [&] { times_.tree_us.push_back(orders_.time_us(SumOrder::kTree, step)); };
    const auto arrival = [&] { times_.arrival_us.push_back(orders_.time_us(SumOrder::kArrival, step)); };
    const bool tree_first = times_.tree_us.size() % 2 == 0;
    if (tree_first) tree();
    arrival();
    if (!tree_first) tree();
  }
  bool agree() const { return agree_; }
  const SumTimes& times() const { return times_; }

 private:
  SumOrders orders_;
  SumTimes times_;
  bool agree_ = true;
};

/// All algorithms on the same rows: right when the rows are, the bytes are, and the hashes agree.
bool measure(const comm::Communicator& world, const DispatchCommand& command, DispatchJob& job, const Record& facts,
             Table& table) {
  bool all_right = true;
  std::string first_hash;
  for (const plan::DispatchAlgorithm algorithm : algorithms_of(command)) {
    const auto traffic = job.traffic(algorithm);
    RawTimes raw;
    struct {
      RawExchanges exchange;
      std::vector<double>& us;
    } baselines[] = {{{world, RawExchange::kAlltoallv, traffic}, raw.alltoallv_us},
                     {{world, RawExchange::kPadded, traffic}, raw.padded_us},
                     {{world, RawExchange::kPairwise, traffic}, raw.pairwise_us}};
    std::optional<TimedSums> sums;
    if (command.sum_orders && algorithm == plan::DispatchAlgorithm::kFlat) sums.emplace(job);
    const DispatchResult result = job.measure(algorithm, command.repetitions, [&](std::size_t step) {
      for (auto& [exchange, us] : baselines)
        if (exchange.travels()) us.push_back(exchange.time_us(step));
      if (sums) sums->run(step);
    });
    if (first_hash.empty()) first_hash = result.hash;
    const bool right =
        result.num_wrong == 0 && result.bytes_right && result.hash == first_hash && (!sums || sums->agree());
    all_right &= right;
    if (world.rank() != 0) continue;
    Record record = facts;
    record["dispatch"] = name(algorithm);
    record.update(dispatch_record(job, result, raw, sums ? sums->times() : SumTimes{}));
    record["right"] = right;
    table.add(std::move(record));
  }
  return all_right;
}

/// Collective: rank 0 reads it, all get it.
std::optional<RoutingTraceFile> open_trace(const comm::Communicator& world, const std::string& file) {
  if (file.empty()) return std::nullopt;
  RoutingTraceFile trace;
  comm::on_root(world, [&] { trace = RoutingTraceFile::read(file); });
  trace.share(world);
  return trace;
}

}  // namespace

int run_dispatch(const std::vector<std::string>& arguments) {
  DispatchCommand command;
  const auto map = parse("bench dispatch", arguments, dispatch_bench_options(command));
  if (map.contains("help")) return kSuccess;
  check_combinations(command, map);
  const auto numerics = numerics_from(command.numerics);
  if (!numerics) fail("--numerics is '{}', expected {}", command.numerics, kNumericsOptions);
  const auto loads = loads_of(command);
  auto presets = presets_of(command);
  const auto algorithms = algorithms_of(command);
  const comm::Communicator world = comm::Communicator::world();
  comm::on_root(world, [&] { open_results({command.replay, command.placement.file}); });
  if (std::ranges::any_of(algorithms, [](const auto algorithm) { return plan::traits(algorithm).by_nodes; }))
    comm::require_shared_memory(world);
  const Compute compute = Compute::cpu(command.isa, *numerics);
  const Progress progress = progress_from(command.progress);
  require_threads_of(progress);
  const NumericSetting numeric{*numerics, command.payload};
  const auto trace = open_trace(world, command.replay);
  if (trace) {
    DispatchPreset& preset = presets.front();
    preset.name.resize(preset.name.rfind('-'));  // the rows are the trace's
    preset.config.num_experts = trace->num_experts;
    preset.config.num_selected_experts = trace->num_active;
    preset.config.num_layers = trace->num_layers;
    presets.resize(1);
  }
  const comm::Communicator node = world.split_node();
  const int num_threads = threads_per_rank(node, command.num_threads);
  log_warnings(world, set_threads(node, num_threads).warnings);

  Table table(command.format, this_testbed(world, compute.backend->name()),
              dispatch_columns(command.sum_orders, command.gemm, numeric.rounds_expert_rows()));
  bool right = true;
  for (const DispatchPreset& preset : presets) {
    const plan::Grid grid = placed_grid(world, preset.config, layout_of(command, preset.config, world.size()),
                                        command.placement, command.node_ranks);
    if (const int subsets = grid.layout().ep;
        command.num_hot > subsets && !trace && std::ranges::find(loads, plan::LoadKind::kIncast) != loads.end())
      fail("--hot is {}, expected at most the {} subset{} of experts of {}; give fewer, or --ep", command.num_hot,
           subsets, subsets == 1 ? "" : "s", grid.layout().text());
    if (command.sum_orders && !grid.placement().at_home())
      fail("--sum-orders compares sums where each expert is in one place; leave out --replicas and --placement");
    plan::DispatchRequest request;
    request.node_ranks = command.node_ranks;
    request.payload = command.payload;
    const plan::DispatchPolicy policy(grid, request, moe::nodes_of(world), compute.numerics(), num_threads);
    std::optional<GemmLayer> gemm;
    if (command.gemm) gemm.emplace(world, grid, compute);
    const auto run = [&](std::string_view load, std::int64_t rows_a_rank, const RoutingSource& source,
                         std::int64_t num_steps) {
      spdlog::info("{}, {}, {} rows a rank", preset.name, load, rows_a_rank);
      DispatchJob job(world, grid, compute, policy.nodes(), source, num_steps,
                      {command.payload, progress, gemm ? &*gemm : nullptr});
      const Record facts = {{"preset", preset.name},
                            {"load", load},
                            {"rows_a_rank", rows_a_rank},
                            {"num_rows", static_cast<double>(job.num_rows()) / static_cast<double>(num_steps)},
                            {"row_bytes", job.row_message().row_bytes},
                            {"layout", grid.layout().text()},
                            {"replicas", grid.placement().num_copies()},
                            {"numerics", numeric.text()},
                            {"n_threads", num_threads},
                            {"progress", command.progress},
                            {"num_nodes", job.nodes().size()},
                            {"iters", command.repetitions.timed},
                            {"num_steps", num_steps},
                            {"seed", command.seed}};
      right &= measure(world, command, job, facts, table);
    };
    if (trace) {
      const std::int64_t recorded = trace->num_batches() * trace->num_layers;
      const std::int64_t steps = command.num_steps > 0 ? std::min(command.num_steps, recorded) : recorded;
      spdlog::info("replaying {} of {} steps (a layer of a batch each), {} timed repetitions", steps, recorded,
                   command.repetitions.timed);
      run("replay", trace->num_rows() / trace->num_batches() / world.size(), replayed_steps(grid, *trace), steps);
      continue;
    }
    for (const plan::LoadKind kind : loads)
      for (const std::int64_t rows : row_counts(command, preset))
        run(name(kind), rows, synthetic_steps(grid, {kind, command.alpha, command.num_hot, command.seed}, rows),
            command.num_steps > 0 ? command.num_steps : kLoadSteps);
  }
  if (world.rank() == 0) print(table);
  return right ? kSuccess : kFailed;
}

}  // namespace moesaic::apps::bench
