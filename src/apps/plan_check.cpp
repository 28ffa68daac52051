#include <algorithm>
#include <cmath>

#include "apps/bench/model_test.hpp"
#include "apps/command.hpp"
#include "apps/parse_options.hpp"
#include "apps/plan_costs.hpp"
#include "apps/results.hpp"
#include "apps/table_output.hpp"
#include "base/digits.hpp"
#include "base/log.hpp"
#include "base/trace.hpp"
#include "comm/agree.hpp"
#include "measure/calibration.hpp"
#include "measure/limits.hpp"
#include "measure/link_costs.hpp"
#include "measure/statistics.hpp"

namespace moesaic::apps {
namespace {

using bench::ModelTest;
using measure::Record;
using plan::Part;

struct CheckOptions {
  ModelOptions model;
  std::string batches, prompts, routing;
  std::int64_t steps = 16, repetitions = 3, prefill_chunk = 512;
  int most_layouts = 6;
  bool quick = false, recalibrate = false;
  measure::OutputFormat format = measure::OutputFormat::kMarkdown;
};

/// A test, and the same as the cost model has it.
struct Case {
  ModelTest test;
  plan::Job job;
  double tokens_a_job = 1;  ///< tokens of the test for each token of the job: steps
};

std::vector<Case> cases_of(const CheckOptions& options, int num_threads) {
  std::vector<Case> cases;
  for (const std::int64_t batch : parse_list(options.batches, "batch", 1, 1 << 16)) {
    const plan::Job job{plan::Phase::kDecode, batch, (options.steps + 1) / 2, options.prefill_chunk, num_threads, {}};
    cases.push_back({{batch, 0, options.steps}, job, static_cast<double>(options.steps)});
  }
  for (const std::int64_t prompt : parse_list(options.prompts, "prompt", 0, 1 << 20)) {
    if (prompt == 0) continue;
    const plan::Job job{plan::Phase::kPrefill, 1, prompt, options.prefill_chunk, num_threads, {}};
    cases.push_back({{1, prompt, 0}, job, 1});
  }
  return cases;
}

struct Measured {
  double ms = 0;                                  ///< of the test
  std::array<double, plan::kNumParts> part_ms{};  ///< mean over the ranks, with waiting
};

std::array<double, plan::kNumParts> part_seconds(const ZoneTimes& times) {
  const auto of = [&](Zone zone) { return times.seconds[static_cast<std::size_t>(zone)]; };
  std::array<double, plan::kNumParts> parts{};
  const auto put = [&](Part part, double seconds) { parts[static_cast<std::size_t>(part)] = seconds; };
  put(Part::kEmbed, of(Zone::kEmbed));
  put(Part::kNorm, of(Zone::kNorm) + of(Zone::kRouter));
  put(Part::kAttention, of(Zone::kAttention));
  put(Part::kAttentionExchange, of(Zone::kGatherRows) + of(Zone::kReduceScatter));
  put(Part::kDispatch, of(Zone::kDispatch));
  put(Part::kExperts, of(Zone::kExperts));
  put(Part::kCombine, of(Zone::kCombine));
  put(Part::kHandOver, of(Zone::kHandOver));
  put(Part::kHead, of(Zone::kHead));
  return parts;
}

/// Collective: the median of some passes after one that is left out.
Measured measure(const comm::Communicator& world, Stage& stage, const ModelTest& test, const CheckOptions& options) {
  std::vector<double> seconds;
  std::array<double, plan::kNumParts> before{};
  for (std::int64_t r = -1; r < options.repetitions; ++r) {
    if (r == 0) before = part_seconds(zone_times());
    SchedulerOptions scheduler;
    scheduler.prefill_chunk = options.prefill_chunk;
    const bench::ModelPass pass = bench::run_test(world, stage, test, scheduler);
    if (r >= 0) seconds.push_back(world.max(world.rank() == 0 ? pass.seconds : 0));
  }
  Measured measured{1e3 * measure::statistics(seconds).median, {}};
  const auto after = part_seconds(zone_times());
  for (std::size_t i = 0; i < plan::kNumParts; ++i)
    measured.part_ms[i] =
        1e3 * world.sum(after[i] - before[i]) / world.size() / static_cast<double>(options.repetitions);
  return measured;
}

/// The machine beside the measurements, over what it was when it was calibrated: shared machines change.
struct MachineNow {
  double peak_share = 1, read_share = 1;
};
MachineNow machine_now(const comm::Communicator& world, const start::Session& session,
                       const measure::ReadMemory& memory, const plan::ComputeCosts& calibrated) {
  const cpu::PeakLoops& loops = cpu::peak_loops(cpu::isa_from_option(session.backend()->name()));
  const measure::Factors factors = measure::factors_of(session.backend()->numerics());
  const auto peak = measure::multiply_add_peak(world, loops, factors, session.num_threads());
  const auto read = measure::read_bandwidth(world, loops, memory.bytes(), session.num_threads(), memory.sum(), 1);
  return {peak.rate.median / world.size() / calibrated.peak_gmacs[static_cast<std::size_t>(factors)],
          read.rate.median / world.size() / calibrated.read_gbps};
}

Record record_of(const plan::Layout& layout, const Case& test, const plan::Prediction& p, const Measured& measured,
                 const MachineNow& now) {
  const double measured_ms = measured.ms / test.tokens_a_job;
  Record record{{"layout", layout.text()},           {"test", test.test.name()},   {"batch", test.test.num_sequences},
                {"dispatch", name(p.dispatch)},      {"predicted_ms", p.total_ms}, {"measured_ms", measured_ms},
                {"ratio", p.total_ms / measured_ms}, {"used_for_fit", "no"},       {"peak_share", now.peak_share},
                {"read_share", now.read_share}};
  std::string largest;
  double error_ms = -1;
  for (std::size_t i = 0; i < plan::kNumParts; ++i) {
    const std::string part(name(static_cast<Part>(i)));
    const double part_ms = measured.part_ms[i] / test.tokens_a_job;
    record["predicted_part_ms"][part] = p.ms[i];
    record["measured_part_ms"][part] = part_ms;
    const bool waiting = static_cast<Part>(i) == Part::kIdle || static_cast<Part>(i) == Part::kHandOver;
    if (waiting || std::abs(p.ms[i] - part_ms) <= error_ms) continue;
    error_ms = std::abs(p.ms[i] - part_ms);
    largest = fmt::format("{} {} / {}", part, in_digits(p.ms[i], 3), in_digits(part_ms, 3));
  }
  record["largest"] = largest;
  return record;
}

/// The best, the worst, and as many between as shall be run.
std::vector<plan::Layout> some_layouts(const std::vector<plan::RankedLayout>& ranked, int most) {
  std::vector<plan::Layout> chosen;
  const auto size = std::ssize(ranked), count = std::min<std::ptrdiff_t>(size, most);
  for (std::ptrdiff_t i = 0; i < count; ++i)
    chosen.push_back(ranked[static_cast<std::size_t>(count == 1 ? 0 : i * (size - 1) / (count - 1))].layout);
  return chosen;
}

constexpr measure::Column kColumns[] = {{"layout", "layout"},
                                        {"test", "test"},
                                        {"batch", "batch"},
                                        {"dispatch", "dispatch"},
                                        {"predicted_ms", "predicted ms", 2},
                                        {"measured_ms", "measured ms", 2},
                                        {"ratio", "predicted / measured", 3},
                                        {"used_for_fit", "used for the fit"},
                                        {"peak_share", "peak now / calibrated", 2},
                                        {"read_share", "read now / calibrated", 2},
                                        {"largest", "farthest part: predicted / measured ms"}};

po::options_description check_options(CheckOptions& options, bool& check) {
  po::options_description description(
      "plan --check (under mpirun): layouts of this rank count, predicted and measured");
  const auto number = [](std::int64_t* into, const char* option) {
    return ranged(into, option, std::int64_t{1}, std::int64_t{1} << 20)->default_value(*into);
  };
  // clang-format off
  description.add_options()
      ("check", po::bool_switch(&check), "this command")
      ("batch", po::value(&options.batches)->default_value("1,16"), "decoding: sequences at a time, a list")
      ("prompt", po::value(&options.prompts)->default_value("512"), "prefill: tokens of one prompt, a list; 0: none")
      ("steps", number(&options.steps, "steps"), "tokens decoded of each sequence")
      ("repetitions", number(&options.repetitions, "repetitions"), "of each test, after one that is left out; the median counts")
      ("layouts", ranged(&options.most_layouts, "layouts", 1, 1 << 10)->default_value(options.most_layouts),
       "most layouts that are run, from the best to the worst")
      ("recalibrate", po::bool_switch(&options.recalibrate),
       "calibrates before each layout: for a machine that is shared, and not as fast from minute to minute")
      ("quick", po::bool_switch(&options.quick), "calibrates with a few calls: for trying out");
  // clang-format on
  description.add(routing_options(options.routing));
  description.add(model_options(options.model)).add(run_options(options.prefill_chunk));
  description.add(wait_options()).add(output_options(options.format));
  return description;
}

/// The machine of --machine, or one that is measured now; rank 0's on all.
plan::Machine machine_for(const comm::Communicator& world, const CheckOptions& options, const start::Session& session) {
  if (!session.dispatch().machine_text.empty())
    return plan::machine_from_text(session.dispatch().machine_text, options.model.dispatch.machine);
  std::vector<Numerics> numerics{session.backend()->numerics()};
  if (numerics[0] != Numerics::kW16A16) numerics.push_back(Numerics::kW16A16);  // the head's
  std::erase(numerics, Numerics::kF32);
  return measure::calibrate(
      world, {session.backend()->name(), {session.num_threads()}, numerics, options.model.bind, options.quick});
}

/// Collective: every rank reads the file of --routing.
plan::RecordedRouting routing_for(const comm::Communicator& world, const CheckOptions& options,
                                  const ModelConfig& config) {
  plan::RecordedRouting routing;
  comm::together(world, [&] { routing = recorded_routing(options.routing, config); });
  return routing;
}

/// Collective.
std::vector<plan::Grid> grids_for(const comm::Communicator& world, const CheckOptions& options,
                                  const ModelConfig& config, int ranks_per_node) {
  const plan::PlacementRequest& copies = options.model.placement;
  const std::string text = placement_text(world, copies);
  std::vector<plan::Grid> grids;
  comm::together(world, [&] {
    grids = plan::placed_grids(copies, text, config, plan::all_layouts(config, world.size()), ranks_per_node);
  });
  return grids;
}

std::int64_t batch_rows(const Case& test, const plan::Layout& layout) {
  const std::int64_t spread = (test.job.num_tokens() + layout.pp - 1) / layout.pp;
  return test.job.phase == plan::Phase::kDecode ? spread : std::min(spread, test.job.chunk_rows);
}

/// Runs layouts one after the other and keeps what came out.
class Comparison {
 public:
  Comparison(const comm::Communicator& world, const CheckOptions& options, const start::Session& first)
      : world_(world),
        options_(options),
        config_(first.config()),
        cases_(cases_of(options, first.num_threads())),
        ranks_(measure::rank_sites(world).placement()),
        grids_(grids_for(world, options, config_, ranks_.ranks_per_node)),
        routing_(routing_for(world, options, config_)),
        machine_(machine_for(world, options, first)),
        memory_(options.quick ? 16 << 20 : measure::kReadMemory_bytes / 2, first.num_threads()),
        table_(options.format, measure::this_testbed(world, first.backend()->name()),
               {std::begin(kColumns), std::end(kColumns)}) {}

  /// The layouts to measure, from the best predicted to the worst.
  std::vector<plan::Layout> layouts(const plan::Arithmetic& arithmetic) const {
    plan::CostModel model(config_, arithmetic, machine_, routing_);
    return some_layouts(plan::rank_layouts(model, grids_, cases_.front().job, ranks_), options_.most_layouts);
  }

  void run(const plan::Layout& layout) {
    ModelOptions one = options_.model;
    one.layout = {world_.size(), layout.pp, layout.dp, layout.tp, layout.ep, layout.etp};
    start::Session session(one);
    if (options_.recalibrate && num_records_ > 0) machine_ = machine_for(world_, options_, session);
    session.set_machine(plan::to_text(machine_));
    plan::CostModel model(config_, session.arithmetic(), machine_, routing_);
    session.load(cases_.back().test.workload(options_.prefill_chunk));
    for (Case& test : cases_) {
      test.job.dispatch = session.stage().dispatch().algorithm(batch_rows(test, layout));
      const Measured measured = measure(world_, session.stage(), test.test, options_);
      const plan::Prediction predicted = model.predict(session.grid(), test.job, ranks_);
      Record record = record_of(layout, test, predicted, measured,
                                machine_now(world_, session, memory_, machine_.with_threads(session.num_threads())));
      const double error = std::abs(record["ratio"].get<double>() - 1);
      sum_error_ += error;
      worst_error_ = std::max(worst_error_, error);
      ++num_records_;
      table_.add(std::move(record));
    }
  }

  void print() const {
    apps::print(table_);
    if (options_.format == measure::OutputFormat::kMarkdown)
      apps::print(
          "\nmachine: {} ({}){}\n{} points, which the calibration has not seen: mean error {:.0f} %, largest {:.0f} "
          "%\n",
          machine_.name, machine_.source, options_.recalibrate ? ", measured before each layout" : "", num_records_,
          100 * sum_error_ / num_records_, 100 * worst_error_);
  }

 private:
  const comm::Communicator& world_;
  const CheckOptions& options_;
  const ModelConfig config_;
  std::vector<Case> cases_;
  const plan::RankPlacement ranks_;
  const std::vector<plan::Grid> grids_;
  const plan::RecordedRouting routing_;
  plan::Machine machine_;
  const measure::ReadMemory memory_;
  measure::Table table_;
  double sum_error_ = 0, worst_error_ = 0;
  int num_records_ = 0;
};

}  // namespace

int run_plan_check(const std::vector<std::string>& arguments) {
  CheckOptions options;
  bool check = false;
  std::vector<std::string> others = arguments;
  std::erase(others, "--check");
  if (parse("plan --check", others, check_options(options, check)).contains("help")) return kSuccess;
  if (options.model.dispatch.node_ranks > 0)
    fail("--node-ranks {}: predictions are for the nodes that there are; leave it out with --check",
         options.model.dispatch.node_ranks);
  if (options.recalibrate && !options.model.dispatch.machine.empty())
    fail("--recalibrate beside --machine {}: nothing is calibrated then; give one of the two",
         options.model.dispatch.machine);
  const comm::Communicator world = comm::Communicator::world();
  comm::on_root(world, [&] { open_results({options.model.store, options.routing, options.model.dispatch.machine}); });
  const auto check_context = [&](const ModelConfig& config) {
    for (const Case& test : cases_of(options, 0))
      if (const auto context = test.test.num_prompt + test.test.num_generated; context > config.sequence_len)
        fail("{}: {} tokens, the model's context is {}; give --prompt {} or less, and --steps that fit",
             test.test.name(), context, config.sequence_len, config.sequence_len);
  };
  ModelOptions at_home = options.model;
  at_home.placement = {};
  const start::Session first(at_home, check_context);
  Comparison comparison(world, options, first);
  for (const plan::Layout& layout : comparison.layouts(first.arithmetic())) comparison.run(layout);
  if (world.rank() == 0) comparison.print();
  return kSuccess;
}

}  // namespace moesaic::apps
