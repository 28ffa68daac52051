#include <algorithm>

#include "apps/bench/bench.hpp"
#include "apps/bench/model_bench.hpp"
#include "apps/command.hpp"
#include "apps/parse_options.hpp"
#include "apps/results.hpp"
#include "comm/agree.hpp"
#include "engine/routing_trace.hpp"

namespace moesaic::apps::bench {
namespace {

/// What the command line says; lists as texts.
struct ModelCommand {
  ModelBenchOptions bench;
  std::string prompts, generated, batches, both, threads, trace_file;
  OutputFormat format = OutputFormat::kMarkdown;
};

/// Prompts, then generation, then both together; every batch size in turn.
std::vector<ModelTest> tests_of(const ModelCommand& options) {
  constexpr std::int64_t kMost = std::int64_t{1} << 24;
  std::vector<ModelTest> tests;
  for (const std::int64_t batch : parse_list(options.batches, "batch", 1, 1 << 16)) {
    for (const std::int64_t n : parse_list(options.prompts, "n-prompt", 0, kMost))
      if (n > 0) tests.push_back({batch, n, 0});
    for (const std::int64_t n : parse_list(options.generated, "n-gen", 0, kMost))
      if (n > 0) tests.push_back({batch, 0, n});
    if (options.both.empty()) continue;
    const auto pair = parse_list(options.both, "pg", 1, kMost);
    if (pair.size() != 2) fail("--pg is '{}', expected two integers: PROMPT,GENERATED", options.both);
    tests.push_back({batch, pair[0], pair[1]});
  }
  if (tests.empty())
    fail("nothing to run: --n-prompt {} and --n-gen {}, and no --pg", options.prompts, options.generated);
  return tests;
}

void check_context(const std::vector<ModelTest>& tests, const ModelConfig& config) {
  for (const ModelTest& test : tests)
    if (const std::int64_t context = test.num_prompt + test.num_generated; context > config.sequence_len)
      fail("{}: {} tokens, the model's context is {}", test.name(), context, config.sequence_len);
}

/// Collective: weights, the largest test's cache and buffers, and the memory that is read for the limits.
void check_memory(const start::Session& session, const ModelBenchOptions& options,
                  const std::vector<ModelTest>& tests) {
  for (const ModelTest& test : tests)
    session.check_memory(test.workload(options.scheduler.prefill_chunk), options.memory_mib << 20);
}

constexpr Column kColumns[] = {{"layout", "layout"},
                               {"n_threads", "threads a rank"},
                               {"numerics", "numerics"},
                               {"batch", "batch"},
                               {"test", "test"},
                               {"ts", "t/s"},
                               {"gmacs", "GMAC/s", 1},
                               {"peak_gmacs", "peak GMAC/s", 1},
                               {"weight_gbps", "weights GB/s", 1},
                               {"read_gbps", "read GB/s", 1},
                               {"percent_of_limit", "% of limit", 1},
                               {"right", "result"}};

po::options_description test_options(ModelCommand& command) {
  po::options_description options("model (-m is --model, -t is --threads)");
  auto add = options.add_options();
  add("n-prompt,p", po::value(&command.prompts)->default_value("512"), "tokens of a prompt, a list; 0: no such test");
  add("n-gen,n", po::value(&command.generated)->default_value("128"),
      "tokens decoded one by one, a list; 0: no such test");
  add("pg", po::value(&command.both), "PROMPT,GENERATED: both in one test (also -pg)");
  add("batch,b", po::value(&command.batches)->default_value("1"), "sequences that pass together, a list");
  ModelBenchOptions& bench = command.bench;
  add("repetitions,r",
      ranged(&bench.repetitions, "repetitions", std::int64_t{1}, std::int64_t{1} << 20)
          ->default_value(bench.repetitions),
      "of each test, after one that is left out");
  add("memory",
      ranged(&bench.memory_mib, "memory", std::int64_t{1}, std::int64_t{1} << 20)->default_value(bench.memory_mib),
      "MiB that each rank reads to measure the read bandwidth; far more than the caches hold");
  add("trace-routing", po::value(&command.trace_file),
      "writes each row's experts and gates of the first pass of each test to this HDF5 file");
  return options;
}

}  // namespace

int run_model(const std::vector<std::string>& arguments) {
  ModelCommand command;
  po::options_description options;
  options.add(test_options(command))
      .add(model_options(command.bench.model, &command.threads))
      .add(run_options(command.bench.scheduler.prefill_chunk))
      .add(overlap_options(command.bench.scheduler.overlap_rows))
      .add(wait_options());
  options.add(output_options(command.format));
  if (parse("bench model", arguments, options).contains("help")) return kSuccess;
  const std::vector<ModelTest> tests = tests_of(command);
  std::vector<std::int64_t> thread_counts;
  if (!command.threads.empty()) {
    thread_counts = parse_list(command.threads, "threads", 1, 4096);
    command.bench.model.num_threads = static_cast<int>(*std::max_element(thread_counts.begin(), thread_counts.end()));
  }

  const start::Session session(command.bench.model, [&](const ModelConfig& config) { check_context(tests, config); });
  const comm::Communicator& world = session.world();
  if (thread_counts.empty()) thread_counts.push_back(session.num_threads());
  check_memory(session, command.bench, tests);
  std::optional<io::TemporaryFile> trace_place;  // rank 0's
  comm::on_root(world, [&] {
    check_writable(command.trace_file, "trace-routing", {command.bench.model.store});
    open_results({command.bench.model.store, command.trace_file});
    if (!command.trace_file.empty()) trace_place.emplace(command.trace_file);
  });
  RoutingTrace trace(session.config());
  if (!command.trace_file.empty()) command.bench.trace = &trace;
  const ModelWeights weights = session.load_weights();

  Table table(command.format, this_testbed(world, session.backend()->name()),
              {std::begin(kColumns), std::end(kColumns)});
  bool right = true;
  for (const std::int64_t num_threads : thread_counts) {
    set_threads(world.split_node(), static_cast<int>(num_threads), command.bench.model.bind);
    ModelBench model(session, command.bench, weights, static_cast<int>(num_threads));
    right &= model.as_portable();
    model.measure_peak();
    for (const ModelTest& test : tests) model.measure(test);
    model.measure_peak();
    right &= model.right();
    if (world.rank() == 0) model.add_records(table);
  }
  if (!command.trace_file.empty()) trace.publish(world, trace_place);
  if (world.rank() == 0) print(table);
  return world.min(right) > 0 ? kSuccess : kFailed;
}

}  // namespace moesaic::apps::bench
