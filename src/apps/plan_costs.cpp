#include "apps/plan_costs.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/command.hpp"
#include "apps/plan_replicas.hpp"
#include "apps/results.hpp"
#include "base/counted.hpp"
#include "base/digits.hpp"
#include "base/error.hpp"
#include "base/json_text.hpp"
#include "base/units.hpp"

namespace moesaic::apps {
namespace {

using nlohmann::ordered_json;

ordered_json to_json(const plan::RankedLayout& ranked) {
  const auto& [layout, p] = ranked;
  ordered_json json{{"ranks", layout.ranks()},
                    {"pp", layout.pp},
                    {"dp", layout.dp},
                    {"tp", layout.tp},
                    {"ep", layout.ep},
                    {"etp", layout.etp},
                    {"ms_per_token", p.ms_per_token},
                    {"total_ms", p.total_ms},
                    {"dispatch", name(p.dispatch)}};
  for (std::size_t i = 0; i < plan::kNumParts; ++i)
    json["part_ms"][std::string(name(static_cast<plan::Part>(i)))] = p.ms[i];
  for (const plan::LinkClass link : plan::kAllLinkClasses)
    if (link != plan::LinkClass::kSelf) json["bytes_per_token"][std::string(name(link))] = p.bytes_per_token[link];
  json["rank_bytes"] = {{"weights", p.memory.weight_bytes},
                        {"kv", p.memory.kv_bytes},
                        {"buffers", p.memory.buffer_bytes},
                        {"total", p.memory.total_bytes()}};
  return json;
}

void print_table(const std::vector<plan::RankedLayout>& layouts, const plan::Machine& machine, int most) {
  constexpr std::size_t kIndent = 30;
  print("{:<{}}{:>10} {:>10}", "layout", kIndent, "ms/token", "total ms");
  for (std::size_t i = 0; i < plan::kNumParts; ++i) print(" {:>9}", name(static_cast<plan::Part>(i)));
  print(" {:>9} {:>14} {:>14} {:>12}\n", "algorithm", "node B/token", "net B/token", "MiB a rank");
  int printed = 0;
  for (const auto& [layout, p] : layouts) {
    if (printed++ == most) {
      print("... {} more; --layouts shows them\n", std::ssize(layouts) - most);
      break;
    }
    print("{:<{}}{:>10} {:>10}", layout.text(), kIndent, in_digits(p.ms_per_token, 4), in_digits(p.total_ms, 4));
    for (const double ms : p.ms) print(" {:>9}", in_digits(ms, 3));
    const double node_bytes = p.bytes_per_token[1] + p.bytes_per_token[2],
                 memory = static_cast<double>(p.memory.total_bytes());
    print(" {:>9} {:>14.0f} {:>14.0f} {:>12.0f}{}\n", name(p.dispatch), node_bytes, p.bytes_per_token[3], memory / kMiB,
          machine.memory_gb > 0 && memory > machine.memory_gb * 1e9 ? " too much" : "");
  }
}

}  // namespace

po::options_description cost_options(CostOptions& options) {
  po::options_description description("predicted times (docs/cost-model.md)");
  // clang-format off
  description.add(routing_options(options.routing));
  description.add_options()
      ("machine", po::value(&options.machine),
       "file of moesaic calibrate, or a preset: ordinary, cpu-zen4-ib-hdr, h100-node, h200-node; ranks all layouts")
      ("phase", po::value(&options.phase)->default_value(options.phase)->notifier([](const std::string& word) {
         if (word != "decode" && word != "prefill") fail("--phase is '{}', expected decode or prefill", word);
       }), "decode: a token each; prefill: prompts of --context tokens in parts of --batch-rows")
      ("batch", ranged(&options.batch, "batch", std::int64_t{1}, std::int64_t{1} << 20)->default_value(1), "sequences at a time")
      ("nodes", ranged(&options.nodes, "nodes", 0, 1 << 20)->default_value(0), "0: the ranks a node that the machine has")
      ("threads", ranged(&options.num_threads, "threads", 0, 4096)->default_value(0), "of a rank; 0: the machine's first")
      ("layouts", ranged(&options.most_layouts, "layouts", 1, 1 << 20)->default_value(options.most_layouts), "most that are printed")
      ("output,o", po::value(&options.output)->default_value(options.output)->notifier([](const std::string& word) {
         if (word != "md" && word != "json") fail("--output is '{}', expected md or json", word);
       }), "md or json")
      ("check", "under mpirun: runs layouts and compares; --check --help has its options");
  // clang-format on
  return description;
}

po::options_description routing_options(std::string& file) {
  po::options_description options("routing");
  options.add_options()("routing", po::value(&file),
                        "predicts experts' times by what routers chose in this file of --trace-routing, not by uniform "
                        "routing");
  return options;
}

plan::RecordedRouting recorded_routing(const std::string& file, const ModelConfig& config) {
  if (file.empty()) return {};
  RoutingTraceFile trace = read_trace("routing", file, config);
  if (trace.num_rows() == 0) fail("--routing {}: has no rows; record a run of some tokens", file);
  return {trace.num_rows(), trace.num_active, std::move(trace.experts)};
}

int print_costs(const ModelConfig& config, const plan::Arithmetic& arithmetic, const plan::LayoutRequest& request,
                const plan::PlacementRequest& copies, const plan::Workload& workload, const CostOptions& options) {
  const plan::Machine machine = plan::read_machine(options.machine);
  plan::Job job;
  job.phase = options.phase == "decode" ? plan::Phase::kDecode : plan::Phase::kPrefill;
  job.sequences = options.batch;
  job.context = workload.context > 0 ? workload.context : config.sequence_len;
  job.chunk_rows = workload.batch_rows;
  job.num_threads = options.num_threads;
  const int node_ranks =
      options.nodes > 0 ? (request.ranks + options.nodes - 1) / options.nodes : machine.ranks_per_node;
  const plan::RankPlacement placement{node_ranks, std::min(node_ranks, machine.ranks_per_numa)};
  plan::CostModel model(config, arithmetic, machine, recorded_routing(options.routing, config));
  const auto grids = plan::placed_grids(copies, plan::read_placement(copies), config,
                                        plan::matching_layouts(config, request), node_ranks);
  const auto layouts = plan::rank_layouts(model, grids, job, placement);
  if (layouts.empty()) {
    const plan::PlanResult none = plan::choose_layout(config, request, arithmetic);
    fail("{}", none.refusal.message());
  }
  if (options.output == "json") {
    ordered_json root{{"machine", machine.name},
                      {"source", machine.source},
                      {"phase", options.phase},
                      {"batch", job.sequences},
                      {"context", job.context},
                      {"ranks_per_node", node_ranks},
                      {"numerics", arithmetic.numeric().text()}};
    for (const plan::RankedLayout& ranked : layouts) root["layouts"].push_back(to_json(ranked));
    print(json_text(root) + "\n");
    return kSuccess;
  }
  const int nodes = (request.ranks + node_ranks - 1) / node_ranks;
  print("{} ({})\n", machine.name, machine.source);
  print("{} on {}, {}, {} of {} at {}; ms by part\n\n", counted(request.ranks, "rank"), counted(nodes, "node"),
        arithmetic.numeric().text(), options.phase, counted(job.sequences, "sequence"), counted(job.context, "token"));
  if (node_ranks != machine.ranks_per_node && machine.compute.front().read_gbps > 0)
    print("note: planned with {} a node, the machine's rates are those of {}\n", counted(node_ranks, "rank"),
          machine.ranks_per_node);
  print_table(layouts, machine, options.most_layouts);
  return kSuccess;
}

bool asks_for_check(const std::vector<std::string>& arguments) {
  return std::find(arguments.begin(), arguments.end(), "--check") != arguments.end();
}

}  // namespace moesaic::apps
