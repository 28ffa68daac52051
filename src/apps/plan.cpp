#include "apps/command.hpp"

#include <nlohmann/json.hpp>

#include "apps/options.hpp"
#include "apps/parse_options.hpp"
#include "apps/plan_costs.hpp"
#include "apps/plan_replicas.hpp"
#include "apps/results.hpp"
#include "base/json_text.hpp"
#include "base/units.hpp"
#include "config/config_file.hpp"
#include "config/grok1.hpp"

namespace moesaic::apps {
namespace {

using nlohmann::json;

json to_json(const plan::Layout& layout) {
  return {{"ranks", layout.ranks()}, {"pp", layout.pp}, {"dp", layout.dp},
          {"tp", layout.tp},         {"ep", layout.ep}, {"etp", layout.etp}};
}

std::vector<std::int64_t> indices(Range range) {
  std::vector<std::int64_t> list;
  for (std::int64_t i = range.begin; i < range.end; ++i) list.push_back(i);
  return list;
}

/// "0-3", "5" or "-".
std::string text(Range range) {
  if (range.empty()) return "-";
  return range.size() == 1 ? fmt::format("{}", range.begin) : fmt::format("{}-{}", range.begin, range.end - 1);
}

/// Ascending numbers: "0-3,6" or "-".
std::string text(const std::vector<ExpertId>& numbers) {
  std::string list;
  for (std::size_t i = 0; i < numbers.size();) {
    const std::size_t first = i++;
    while (i < numbers.size() && numbers[i] == numbers[i - 1].next()) ++i;
    list += fmt::format("{}{}", list.empty() ? "" : ",", text(IdRange(numbers[first], numbers[i - 1].next()).values()));
  }
  return list.empty() ? "-" : list;
}

/// What is planned for.
struct Job {
  ModelConfig config;
  plan::Arithmetic arithmetic;
  plan::Workload workload;
  int ranks_per_node = 1;
};

/// Weights of the whole model in each format; f32 mode keeps a wider embedding.
std::int64_t weight_bytes(const Job& job, WeightFormat format) {
  const Numerics numerics = job.arithmetic.numerics == Numerics::kF32 ? Numerics::kF32 : default_numerics(format);
  return plan::model_weight_bytes(job.config, {format, numerics});
}

/// What one rank holds.
struct Part {
  plan::StageId stage;
  Range layers, kv_heads, leaves;
  std::vector<std::vector<ExpertId>> experts;  ///< of each of its layers; of one for all where they are alike
  plan::Footprint memory;

  std::string experts_text() const { return text(experts[0]) + (experts.size() == 1 ? "" : " *"); }
};

Part part_of(const plan::Grid& grid, plan::WorldRank rank, const Job& job) {
  const plan::StageId stage = grid.stage(rank);
  const plan::StageRank local = grid.in_stage(rank);
  Part part{stage,
            grid.layers(stage).values(),
            grid.kv_heads(grid.shard(local)),
            grid.expert_leaves()[grid.slice(local)],
            {},
            plan::footprint(grid, rank, job.arithmetic, job.workload)};
  for (const ModelLayer layer : grid.layers(stage))
    part.experts.push_back(grid.placement().experts(layer, grid.subset(local)));
  if (grid.placement().num_layers() == 1) part.experts.resize(1);
  return part;
}

std::vector<plan::Link> links_of(const plan::Grid& grid, const Job& job) {
  return plan::links(grid, job.arithmetic.numeric(), plan::RankPlacement{job.ranks_per_node});
}

void print_json(const plan::Grid& grid, const plan::Choice& choice, const Job& job) {
  json root = to_json(choice.layout);
  root["reason"] = choice.reason;
  root["numerics"] = job.arithmetic.numeric().text();
  root["weights"] = name(job.arithmetic.format);
  for (const WeightFormat format : kAllWeightFormats)
    root["model_weight_bytes"][std::string(name(format))] = weight_bytes(job, format);
  for (const plan::WorldRank rank : ids<plan::WorldRank>(choice.layout.ranks())) {
    const Part part = part_of(grid, rank, job);
    root["rank"].push_back({{"stage", part.stage},
                            {"layers", indices(part.layers)},
                            {"kv_heads", indices(part.kv_heads)},
                            {"experts", part.experts[0]},
                            {"leaves", indices(part.leaves)},
                            {"weight_bytes", part.memory.weight_bytes},
                            {"kv_bytes", part.memory.kv_bytes},
                            {"buffer_bytes", part.memory.buffer_bytes}});
    if (part.experts.size() > 1) root["rank"].back()["experts_by_layer"] = part.experts;
  }
  root["links"] = json::array();
  for (const plan::Link& link : links_of(grid, job))
    root["links"].push_back({{"from", link.from}, {"to", link.to}, {"bytes_per_token", link.bytes_per_token}});
  print(json_text(root) + "\n");
}

void print_text(const plan::Grid& grid, const plan::Choice& choice, const Job& job) {
  const plan::Arithmetic& arithmetic = job.arithmetic;
  const plan::Workload& workload = job.workload;
  print("weights of the whole model:");
  for (const WeightFormat format : {WeightFormat::kBf16, WeightFormat::kInt8, WeightFormat::kInt4})
    print("{} {} {:.4g} GB", format == WeightFormat::kBf16 ? "" : ",", name(format),
          static_cast<double>(weight_bytes(job, format)) * 1e-9);
  print("; planned with {}\n", name(arithmetic.format));
  print("{} rank{}: {} ({})\n", choice.layout.ranks(), choice.layout.ranks() == 1 ? "" : "s", choice.layout.text(),
        choice.reason);
  print("memory for {} sequence{} of {} tokens, {} rows a micro-batch, {}\n\n", workload.num_sequences,
        workload.num_sequences == 1 ? "" : "s", workload.context, workload.batch_rows, arithmetic.numeric().text());
  print("{:>5} {:>6} {:>8} {:>9} {:>9} {:>7} {:>14} {:>10} {:>14}\n", "rank", "stage", "layers", "kv heads", "experts",
        "leaves", "weights (MiB)", "KV (MiB)", "buffers (MiB)");
  for (const plan::WorldRank rank : ids<plan::WorldRank>(choice.layout.ranks())) {
    const Part part = part_of(grid, rank, job);
    print("{:>5} {:>6} {:>8} {:>9} {:>9} {:>7} {:>14.1f} {:>10.1f} {:>14.1f}\n", rank.value(), part.stage.value(),
          text(part.layers), text(part.kv_heads), part.experts_text(), text(part.leaves),
          static_cast<double>(part.memory.weight_bytes) / kMiB, static_cast<double>(part.memory.kv_bytes) / kMiB,
          static_cast<double>(part.memory.buffer_bytes) / kMiB);
  }
  if (grid.placement().num_layers() > 1) print("* of its first layer; --json has the experts of all layers\n");
  const auto links = links_of(grid, job);
  if (links.empty()) return;
  print("\nexpected bytes for one token, uniform routing\n{:>5} {:>5} {:>12}\n", "from", "to", "bytes");
  for (const plan::Link& link : links)
    print("{:>5} {:>5} {:>12.0f}\n", link.from.value(), link.to.value(), link.bytes_per_token);
}

/// The model and its weights: a store's, or a preset's in the format asked for.
Job job_of(const std::string& store, const std::string& preset, const std::string& weights,
           std::optional<Numerics> numerics) {
  if (store.empty() == preset.empty()) fail("give either --model STORE or --preset NAME");
  if (!store.empty()) {
    if (!weights.empty()) fail("--weights: those of {} are what they are; give it with --preset", store);
    const io::StoreIndex index = io::StoreReader::read_index(store, io::Verify::kOff);
    return {index.config(),
            {index.format(), numerics_for(index.format(), numerics, "the weights of " + store + " are")},
            {}};
  }
  const auto config = preset == "grok-1" ? kGrok1 : moesaic::preset(preset);
  if (!config) fail("--preset is '{}', expected tiny, mini, slice or grok-1", preset);
  std::optional<WeightFormat> format = numerics ? format_of(*numerics) : std::nullopt;
  if (!weights.empty()) {
    format = weight_format_from(weights);
    if (!format) fail("--weights is '{}', expected {}", weights, kWeightFormatOptions);
  }
  const WeightFormat chosen = format.value_or(WeightFormat::kInt8);
  return {*config, {chosen, numerics_for(chosen, numerics, "--weights is")}, {}};
}

}  // namespace

int run_plan(const std::vector<std::string>& arguments) {
  if (asks_for_check(arguments)) return run_plan_check(arguments);
  std::string store, preset, weights, numerics_word;
  plan::LayoutRequest layout;
  plan::Workload workload;
  static const std::string numerics_help =
      fmt::format("{}; default: bf16 activations with the weights", kNumericsOptions);
  po::options_description options("plan");
  bool as_json = false;
  // clang-format off
  options.add_options()
      ("model", po::value(&store), "the store")
      ("preset", po::value(&preset), "instead of a store: tiny, mini, slice (those of synth) or grok-1")
      ("weights", po::value(&weights), "with --preset: format of its matrices, int8 (default), bf16 or int4")
      ("ranks", ranged(&layout.ranks, "ranks", 1, 1 << 20)->default_value(1), "MPI ranks of the job")
      ("numerics", po::value(&numerics_word), numerics_help.c_str())
      ("sequences", ranged(&workload.num_sequences, "sequences", std::int64_t{1}, std::int64_t{1} << 24)->default_value(1),
       "sequences at a time")
      ("context", ranged(&workload.context, "context", std::int64_t{0}, std::int64_t{1} << 24)->default_value(0),
       "tokens a sequence may reach; 0: the model's longest")
      ("batch-rows", ranged(&workload.batch_rows, "batch-rows", std::int64_t{1}, std::int64_t{1} << 24)->default_value(512),
       "rows of a micro-batch")
      ("json", po::bool_switch(&as_json), "for programs");
  // clang-format on
  CostOptions costs;
  ReplicaOptions replicas;
  DispatchPayload payload = DispatchPayload::kAct;
  options.add(layout_options(layout))
      .add(payload_options(payload))
      .add(replica_options(replicas))
      .add(cost_options(costs))
      .add(result_options(OutputOption::kTaken));
  const auto map = parse("plan", arguments, options);
  if (map.contains("help")) return kSuccess;
  const auto numerics = numerics_from(numerics_word);
  if (!numerics_word.empty() && !numerics) fail("--numerics is '{}', expected {}", numerics_word, kNumericsOptions);

  const auto given = [&](const char* option) { return map.contains(option) && !map[option].defaulted(); };
  const bool places = !replicas.trace.empty();
  for (const char* option : {"phase", "batch", "nodes", "threads", "layouts", "output", "routing"})
    if (costs.machine.empty() && given(option) && !(places && std::string_view(option) == "threads"))
      fail("--{} is for predicted times: give --machine too, a file of moesaic calibrate or a preset", option);
  if (!places && !costs.machine.empty() && given("node-ranks"))
    fail("--node-ranks: with --machine the ranks of a node follow from --nodes, or are the machine's");
  for (const char* option : {"phase", "batch", "nodes", "layouts", "output", "routing"})
    if (places && given(option))
      fail("--{} is for the predicted times of layouts: leave it out with --from-trace, or leave that out", option);
  const plan::PlacementRequest copies =
      places ? plan::PlacementRequest{} : plan::PlacementRequest{replicas.replicas, replicas.file};
  if (as_json) costs.output = "json";

  open_results({store, costs.machine, costs.routing, replicas.trace, replicas.file});
  Job job = job_of(store, preset, weights, numerics);
  job.arithmetic.payload = payload;
  job.workload = workload;
  if (workload.context == 0) job.workload.context = job.config.sequence_len;
  job.ranks_per_node = replicas.ranks_per_node(layout.ranks);
  if (!costs.machine.empty() && !places)
    return print_costs(job.config, job.arithmetic, layout, copies, job.workload, costs);
  const std::string copies_text = plan::read_placement(copies);
  const plan::PlanResult result = plan::choose_layout(job.config, layout, job.arithmetic, copies, copies_text);
  if (!result.choice) {
    if (!as_json) fail("{}", result.refusal.message());
    json nearest = json::array();
    for (const plan::Layout& layout : result.refusal.nearest) nearest.push_back(to_json(layout));
    print(
        json_text(json{
            {"error", "no layout for " + result.refusal.error}, {"rule", result.refusal.rule}, {"nearest", nearest}}) +
        "\n");
    return kRefused;
  }
  if (places)
    return print_replicas(job.config, job.arithmetic, result.choice->layout, replicas,
                          costs.machine.empty() ? "ordinary" : costs.machine, costs.num_threads, as_json);
  const plan::Layout& chosen = result.choice->layout;
  const auto grids = plan::placed_grids(copies, copies_text, job.config, {chosen}, job.ranks_per_node);
  const plan::Grid& grid = grids.front();
  (as_json ? print_json : print_text)(grid, *result.choice, job);
  return kSuccess;
}

}  // namespace moesaic::apps
