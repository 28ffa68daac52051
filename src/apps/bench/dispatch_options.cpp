#include "apps/bench/dispatch_options.hpp"

#include <algorithm>
#include <charconv>
#include <sstream>

#include "base/counted.hpp"
#include "config/grok1.hpp"

namespace moesaic::apps::bench {
namespace {

std::vector<std::string> words_of(const std::string& list) {
  std::vector<std::string> words;
  std::istringstream stream(list);
  for (std::string word; std::getline(stream, word, ',');) words.push_back(word);
  return words;
}

ModelConfig deepseek_v3() {
  ModelConfig config = kGrok1;
  config.emb_size = 7168;
  config.ffn_size = 2048;
  config.num_experts = 256;
  config.num_selected_experts = 8;
  config.num_layers = 1;
  return config;
}

constexpr std::int64_t kMostRows = std::int64_t{1} << 20;

}  // namespace

po::options_description dispatch_bench_options(DispatchCommand& command) {
  po::options_description options("dispatch (sizes in rows a rank)");
  // clang-format off
  options.add_options()
      ("preset,p", po::value(&command.presets)->default_value("grok1-128"),
       "grok1-R or deepseek-v3-R, with R rows a rank; a list")
      ("begin,b", ranged(&command.begin, "begin", std::int64_t{0}, kMostRows)->default_value(0), "rows a rank to begin with; 0: the preset's")
      ("end,e", ranged(&command.end, "end", std::int64_t{0}, kMostRows)->default_value(0), "the most; 0: only --begin")
      ("factor,f", ranged(&command.factor, "factor", std::int64_t{2}, kMostRows)->default_value(command.factor), "between two row counts")
      ("iters,n", ranged(&command.repetitions.timed, "iters", std::int64_t{1}, std::int64_t{1} << 30)->default_value(command.repetitions.timed),
       "repetitions that are timed")
      ("warmup,w", ranged(&command.repetitions.warmup, "warmup", std::int64_t{0}, std::int64_t{1} << 30)->default_value(command.repetitions.warmup),
       "that are not")
      ("check,c", ranged(&command.repetitions.check_every, "check", std::int64_t{0}, std::int64_t{1} << 30)->default_value(command.repetitions.check_every),
       "every how many repetitions all rows are checked; 0: never")
      ("dispatch", po::value(&command.algorithms)->default_value("all"), "flat, hier, agrs, dense, alltoallv, a list, or all")
      ("load", po::value(&command.loads)->default_value("uniform"), plan::kLoadOptions)
      ("zipf-alpha", ranged(&command.alpha, "zipf-alpha", 0.0f, 10.0f)->default_value(command.alpha), "of --load zipf")
      ("hot", ranged(&command.num_hot, "hot", 1, 1 << 20)->default_value(command.num_hot), "subsets of --load incast")
      ("sum-orders", po::bool_switch(&command.sum_orders),
       "with flat: also combine by itself, with sums by the fixed trees and in order of arrival")
      ("gemm", po::bool_switch(&command.gemm),
       "in the repetitions, real experts and a router with random weights of the preset's geometry in place of stand-ins")
      ("gemm-ffn", ranged(&command.gemm_ffn, "gemm-ffn", std::int64_t{0}, std::int64_t{1} << 20)->default_value(command.gemm_ffn),
       "with --gemm: hidden size of an expert, a multiple of 8; 0: the preset's")
      ("progress", po::value(&command.progress)->default_value("poll"),
       "how messages go on while experts compute: poll, between ranges of panels, as the model does; thread, by a thread "
       "of its own; none")
      ("seed", seed(&command.seed, "0"), "of the load")
      ("steps", ranged(&command.num_steps, "steps", std::int64_t{0}, std::int64_t{1} << 16)->default_value(command.num_steps),
       "different steps of the load that are taken in turn; 0: 4, with --replay all")
      ("replay", po::value(&command.replay), "the routing of this file (--trace-routing) in place of a load")
      ("numerics", po::value(&command.numerics)->default_value("w8a16"), "numeric mode, which decides what travels")
      ("isa", po::value(&command.isa)->default_value("auto"), backend::kIsaOptions)
      ("threads", ranged(&command.num_threads, "threads", 0, 4096)->default_value(0), "threads of each rank; 0: as generate")
      ("node-ranks", ranged(&command.node_ranks, "node-ranks", 0, 1 << 20)->default_value(0),
       "ranks that count as a node, in rank order; 0: those that share memory");
  // clang-format on
  options.add(layout_options(command.layout))
      .add(placement_options(command.placement))
      .add(payload_options(command.payload))
      .add(wait_options("300"))
      .add(output_options(command.format));
  return options;
}

void check_combinations(const DispatchCommand& command, const po::variables_map& map) {
  const auto given = [&](const char* option) { return map.contains(option) && !map[option].defaulted(); };
  for (const char* option : {"begin", "end", "factor", "load", "zipf-alpha", "hot", "seed"})
    if (!command.replay.empty() && given(option))
      fail("--{} beside --replay: the rows are those of the file; give one of the two", option);
  if (!command.placement.file.empty() && command.replay.empty())
    fail("--placement {}: holds the layers of a model, and the load is of one layer; give --replay too, a trace of it",
         command.placement.file);
  const auto names = [](const std::string& list, const char* word) {
    const auto words = words_of(list);
    return std::ranges::find(words, word) != words.end();
  };
  if (given("hot") && !names(command.loads, "incast")) fail("--hot is for --load incast");
  if (command.sum_orders && command.algorithms != "all" && !names(command.algorithms, "flat"))
    fail("--sum-orders is measured beside flat: give it in --dispatch too");
}

std::vector<DispatchPreset> presets_of(const DispatchCommand& command) {
  if (command.gemm_ffn > 0 && !command.gemm)
    fail("--gemm-ffn {} is for real experts: give --gemm too", command.gemm_ffn);
  if (command.gemm_ffn % kNumLeaves != 0)
    fail("--gemm-ffn is {}, expected a multiple of {}", command.gemm_ffn, kNumLeaves);
  std::vector<DispatchPreset> presets;
  for (const std::string& word : words_of(command.presets)) {
    const auto dash = word.rfind('-');
    const std::string model = word.substr(0, dash), rows = dash == std::string::npos ? "" : word.substr(dash + 1);
    DispatchPreset preset{word, model == "grok1" ? kGrok1 : deepseek_v3(), 0};
    const auto [end, error] = std::from_chars(rows.data(), rows.data() + rows.size(), preset.rows_a_rank);
    if ((model != "grok1" && model != "deepseek-v3") || error != std::errc() || end != rows.data() + rows.size() ||
        preset.rows_a_rank < 0 || preset.rows_a_rank > kMostRows)
      fail("--preset is '{}', expected grok1-R or deepseek-v3-R with R rows a rank, 0 to {}", word, kMostRows);
    preset.config.num_layers = 1;
    if (command.gemm_ffn > 0) preset.config.ffn_size = command.gemm_ffn;
    presets.push_back(preset);
  }
  return presets;
}

std::vector<std::int64_t> row_counts(const DispatchCommand& command, const DispatchPreset& preset) {
  if (command.begin == 0 && command.end > 0) fail("--end {} without --begin", command.end);
  if (command.begin == 0) return {preset.rows_a_rank};
  if (command.end > 0 && command.end < command.begin)
    fail("--end is {}, expected at least --begin, {}", command.end, command.begin);
  std::vector<std::int64_t> counts;
  for (std::int64_t rows = command.begin; rows <= std::max(command.begin, command.end); rows *= command.factor)
    counts.push_back(rows);
  return counts;
}

std::vector<plan::DispatchAlgorithm> algorithms_of(const DispatchCommand& command) {
  if (command.algorithms == "all")
    return {std::begin(plan::kAllDispatchAlgorithms), std::end(plan::kAllDispatchAlgorithms)};
  std::vector<plan::DispatchAlgorithm> algorithms;
  for (const std::string& word : words_of(command.algorithms)) {
    const auto algorithm = plan::dispatch_from(word);
    if (!algorithm) fail("--dispatch is '{}', expected flat, hier, agrs, dense, alltoallv, a list, or all", word);
    algorithms.push_back(*algorithm);
  }
  return algorithms;
}

std::vector<plan::LoadKind> loads_of(const DispatchCommand& command) {
  std::vector<plan::LoadKind> loads;
  for (const std::string& word : words_of(command.loads)) {
    const auto load = plan::load_from(word);
    if (!load) fail("--load is '{}', expected {}", word, plan::kLoadOptions);
    loads.push_back(*load);
  }
  return loads;
}

plan::Layout layout_of(const DispatchCommand& command, const ModelConfig& config, int ranks) {
  const plan::LayoutRequest& asked = command.layout;
  if (asked.pp.value_or(1) != 1) fail("--pp {}: dispatch is inside a stage, expected 1", *asked.pp);
  plan::Layout layout;
  if (asked.etp) layout.ep = std::max(1, ranks / *asked.etp);
  for (int ep = 1; !asked.ep && !asked.etp && ep <= ranks; ++ep)
    if (ranks % ep == 0 && ep <= config.num_experts) layout.ep = ep;
  layout.ep = asked.ep.value_or(layout.ep);
  layout.etp = asked.etp.value_or(std::max(1, ranks / layout.ep));
  layout.tp = asked.tp.value_or(asked.dp ? std::max(1, ranks / *asked.dp) : 1);
  layout.dp = asked.dp.value_or(std::max(1, ranks / layout.tp));
  if (const std::string rule = broken_rule(config, layout); !rule.empty())
    fail("{} on {}: {}", layout.text(), counted(ranks, "rank"), rule);
  if (layout.ranks() != ranks) fail("{}: {}, the job has {}", layout.text(), counted(layout.ranks(), "rank"), ranks);
  return layout;
}

}  // namespace moesaic::apps::bench
