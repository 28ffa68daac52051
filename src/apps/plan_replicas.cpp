#include "apps/plan_replicas.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "apps/command.hpp"
#include "apps/results.hpp"
#include "base/counted.hpp"
#include "base/error.hpp"
#include "base/json_text.hpp"
#include "base/units.hpp"
#include "plan/cost_model.hpp"
#include "plan/dispatch_traffic.hpp"
#include "plan/footprint.hpp"
#include "plan/placement_file.hpp"

namespace moesaic::apps {
namespace {

using nlohmann::ordered_json;

/// What the busiest rank of a stage does and what a rank does in the mean, of some layers and steps added up.
struct Work {
  double most_terms = 0, mean_terms = 0;
  double busiest_us = 0, mean_us = 0;  ///< of experts
  double most_bytes = 0;               ///< sent or received by dispatch and combine, flat

  Work& operator+=(const Work& other) {
    most_terms += other.most_terms, mean_terms += other.mean_terms;
    busiest_us += other.busiest_us, mean_us += other.mean_us;
    most_bytes += other.most_bytes;
    return *this;
  }
  double imbalance() const { return most_terms / mean_terms; }
};

/// Looks at a trace through the placement of a grid.
class Replay {
 public:
  Replay(const plan::Grid& grid, const RoutingTraceFile& trace, const NumericSetting& numeric,
         const plan::ComputeCosts& compute)
      : grid_(grid),
        trace_(trace),
        numeric_(numeric),
        compute_(compute),
        width_(static_cast<std::size_t>(grid.config().emb_size)),
        setting_(
            grid, plan::Domains::alone(grid.ranks_per_stage()),
            {activation_row(numeric.numerics, static_cast<std::int64_t>(width_)).row_bytes(), width_ * sizeof(float)}) {
  }

  Work layer(ModelLayer layer, const plan::Domains& nodes) const {
    Work sum;
    for (std::int64_t batch = 0; batch < trace_.num_batches(); ++batch)
      if (!trace_.rows(batch).empty()) sum += step(batch, layer, nodes);
    return sum;
  }

 private:
  Work step(std::int64_t batch, ModelLayer layer, const plan::Domains& nodes) const {
    const plan::Placement& placement = grid_.placement();
    std::vector<std::int64_t> group_rows;
    for (const plan::GroupId group : grid_.groups())
      group_rows.push_back(even_part(trace_.rows(batch).size(), grid_.layout().dp, group.value()).size());
    const plan::RowMap rows(grid_, group_rows);
    const auto slots = slots_of_rows(grid_, nodes, rows, layer, trace_.layer(batch, layer).first);
    IdVector<plan::SlotId, std::int64_t> terms(placement.num_slots());
    for (const std::int32_t slot : slots) ++terms[plan::SlotId(slot)];
    Work work;
    for (const plan::SubsetId subset : grid_.subsets()) {
      double sum = 0, us = 0;
      for (const plan::SlotId slot : placement.slots(subset)) {
        sum += static_cast<double>(terms[slot]);
        us += plan::expert_us(grid_, terms[slot], numeric_.numerics, compute_);
      }
      work.most_terms = std::max(work.most_terms, sum);
      work.busiest_us = std::max(work.busiest_us, us);
      work.mean_terms += sum / placement.num_subsets();
      work.mean_us += us / placement.num_subsets();
    }
    work.most_bytes = most_bytes(rows, slots);
    return work;
  }

  double most_bytes(const plan::RowMap& rows, std::span<const std::int32_t> slots) const {
    const plan::RowMessage message{numeric_.expert_row(grid_.config().emb_size).row_bytes(), trace_.num_active};
    const auto traffic = dispatch_traffic(setting_, plan::DispatchAlgorithm::kFlat, rows, message, slots);
    std::uint64_t most = 0;
    for (const plan::StageRank rank : grid_.ranks()) {
      std::uint64_t sent = 0, received = 0;
      for (const plan::StageRank peer : grid_.ranks())
        for (const plan::PairTraffic* pairs : {&traffic.dispatch, &traffic.combine}) {
          sent += pairs->bytes[pairs->at(rank, peer)];
          received += pairs->bytes[pairs->at(peer, rank)];
        }
      most = std::max({most, sent, received});
    }
    return static_cast<double>(most);
  }

  const plan::Grid& grid_;
  const RoutingTraceFile& trace_;
  const NumericSetting numeric_;
  const plan::ComputeCosts& compute_;
  const std::size_t width_;
  const plan::DispatchSetting setting_;
};

plan::ExpertLoads loads_of(const RoutingTraceFile& trace, ModelLayer layer) {
  plan::ExpertLoads loads(trace.num_experts);
  const auto size = static_cast<std::size_t>(trace.num_rows() * trace.num_active);
  for (const std::int32_t expert : std::span(trace.experts).subspan(layer.index() * size, size))
    ++loads[ExpertId(expert)];
  return loads;
}

/// The same layers with and without a placement.
struct Comparison {
  IdVector<ModelLayer, std::int64_t> copies;
  IdVector<ModelLayer, Work> home, placed;
  Work all_home, all_placed;
  std::int64_t num_steps = 0;
  double copy_bytes = 0, rank_bytes = 0;  // the most that a rank holds more, and holds in all

  double saved_us() const { return (all_home.busiest_us - all_placed.busiest_us) / static_cast<double>(num_steps); }
  /// The busiest rank over the mean, in experts' time without copies, at which these save nothing.
  double break_even() const { return all_placed.busiest_us / all_home.mean_us; }
  double here() const { return all_home.busiest_us / all_home.mean_us; }
  /// Steps that save the time in which a rank reads its copies at 1 GB/s.
  double break_even_steps() const { return copy_bytes / 1e3 / saved_us(); }
};

void print_text(const Comparison& c) {
  print("{:>5} {:>7} {:>10} {:>10} {:>13} {:>13} {:>11} {:>11}\n", "layer", "copies", "max/mean", "placed",
        "busiest us", "placed us", "most KB", "placed KB");
  const auto line = [&](const std::string& layer, const std::string& copies, const Work& home, const Work& placed,
                        double steps) {
    print("{:>5} {:>7} {:>10.3f} {:>10.3f} {:>13.1f} {:>13.1f} {:>11.1f} {:>11.1f}\n", layer, copies, home.imbalance(),
          placed.imbalance(), home.busiest_us / steps, placed.busiest_us / steps, home.most_bytes / steps / 1e3,
          placed.most_bytes / steps / 1e3);
  };
  const auto steps = static_cast<double>(c.num_steps);
  for (const ModelLayer layer : c.copies.ids())
    line(fmt::format("{}", layer.value()), fmt::format("{}", c.copies[layer]), c.home[layer], c.placed[layer], steps);
  line("all", "", c.all_home, c.all_placed, steps);
  print(
      "\nmax/mean: terms of the busiest rank over the mean, in the mean of steps; us, KB: of the busiest rank in a "
      "step "
      "(experts; dispatch and combine, flat)\n");
  print("gain: experts of the busiest rank {:.3g} times as long, its bytes {:.3g} times as many\n",
        c.all_placed.busiest_us / c.all_home.busiest_us,
        c.all_home.most_bytes > 0 ? c.all_placed.most_bytes / c.all_home.most_bytes : 1.0);
  print("cost: {:.1f} MiB more on a rank at most ({:+.1f} %), {:.2f} s longer to load at 1 GB/s a rank\n",
        c.copy_bytes / kMiB, 100 * c.copy_bytes / (c.rank_bytes - c.copy_bytes), c.copy_bytes / 1e9);
  print(
      "break-even: pays where the busiest rank's experts take more than {:.3f} times the mean without it; here {:.3f}",
      c.break_even(), c.here());
  if (c.saved_us() > 0)
    print(": pays, loading is made up for after {:.0f} steps\n", std::ceil(c.break_even_steps()));
  else
    print(": does not pay\n");
}

ordered_json to_json(const Work& work, double steps) {
  return {{"imbalance", work.imbalance()},
          {"busiest_us", work.busiest_us / steps},
          {"mean_us", work.mean_us / steps},
          {"most_bytes", work.most_bytes / steps}};
}

void print_json(const Comparison& c, const plan::Placement& placement) {
  const auto steps = static_cast<double>(c.num_steps);
  ordered_json json = {
      {"num_steps", c.num_steps},   {"home", to_json(c.all_home, steps)}, {"placed", to_json(c.all_placed, steps)},
      {"copy_bytes", c.copy_bytes}, {"break_even", c.break_even()},       {"pays", c.saved_us() > 0}};
  for (const ModelLayer layer : c.copies.ids())
    json["layer"].push_back({{"copies", c.copies[layer]},
                             {"home", to_json(c.home[layer], steps)},
                             {"placed", to_json(c.placed[layer], steps)},
                             {"experts", placement.subsets(layer)}});
  print(json_text(json) + "\n");
}

}  // namespace

RoutingTraceFile read_trace(const char* option, const std::string& file, const ModelConfig& config) {
  RoutingTraceFile trace = RoutingTraceFile::read(file);
  const auto expect = [&](const char* what, std::int64_t found, std::int64_t expected) {
    if (found != expected)
      fail("--{} {}: {} {}, the model has {}; record it with this model", option, file, found, what, expected);
  };
  expect("experts", trace.num_experts, config.num_experts);
  expect("layers", trace.num_layers, config.num_layers);
  expect("experts a row", trace.num_active, config.num_selected_experts);
  return trace;
}

po::options_description replica_options(ReplicaOptions& options) {
  po::options_description description("copies of hot experts (docs/communication.md)");
  // clang-format off
  description.add_options()
      ("from-trace", po::value(&options.trace), "places the experts of --ranks ranks by the loads in this file of --trace-routing")
      ("replicas", ranged(&options.replicas, "replicas", std::int64_t{0}, std::int64_t{1} << 20)->default_value(0),
       "copies in each layer, at most (ep-1) for each expert")
      ("placement", po::value(&options.file),
       "with --from-trace: file that is written, for --placement of generate, logits and bench; else: such a file, planned with")
      ("node-ranks", ranged(&options.node_ranks, "node-ranks", 0, 1 << 20)->default_value(0),
       "ranks of a node, in rank order; 0: all are on one");
  // clang-format on
  return description;
}

int print_replicas(const ModelConfig& config, const plan::Arithmetic& arithmetic, const plan::Layout& layout,
                   const ReplicaOptions& options, const std::string& machine_name, int num_threads, bool as_json) {
  if (const auto rule = plan::broken_copies_rule(config.num_experts, layout.ep, options.replicas); !rule.empty())
    fail("--replicas is {}, expected {}", options.replicas, rule);
  check_writable(options.file, "placement", {options.trace});
  const RoutingTraceFile trace = read_trace("from-trace", options.trace, config);
  const plan::Grid home(config, layout);
  IdVector<plan::StageId, plan::Domains> nodes;
  for (const plan::StageId stage : home.stages())
    nodes.push_back(plan::RankPlacement{options.ranks_per_node(layout.ranks())}.nodes(home, stage));
  std::vector<plan::Placement::Subsets> layers;
  Comparison c;
  for (const plan::StageId stage : home.stages())
    for (const ModelLayer layer : home.layers(stage)) {
      layers.push_back(balance_copies(home, nodes[stage], options.replicas, loads_of(trace, layer)));
      c.copies.push_back(plan::Placement(config.num_experts, {layers.back()}).num_copies());
    }
  const plan::Grid placed(config, layout, plan::Placement(config.num_experts, std::move(layers)));

  const plan::Machine machine = plan::read_machine(machine_name);
  const plan::ComputeCosts& compute = machine.with_threads(num_threads);
  const Replay before(home, trace, arithmetic.numeric(), compute), after(placed, trace, arithmetic.numeric(), compute);
  for (const plan::StageId stage : home.stages())
    for (const ModelLayer layer : home.layers(stage)) {
      c.all_home += c.home.emplace_back(before.layer(layer, nodes[stage]));
      c.all_placed += c.placed.emplace_back(after.layer(layer, nodes[stage]));
    }
  for (std::int64_t batch = 0; batch < trace.num_batches(); ++batch) c.num_steps += !trace.rows(batch).empty();
  for (const plan::WorldRank rank : ids<plan::WorldRank>(layout.ranks())) {
    const auto bytes = [&](const plan::Grid& grid) {
      return static_cast<double>(footprint(grid, rank, arithmetic, {}).weight_bytes);
    };
    if (bytes(placed) - bytes(home) < c.copy_bytes || (c.rank_bytes > 0 && bytes(placed) - bytes(home) == c.copy_bytes))
      continue;
    c.copy_bytes = bytes(placed) - bytes(home);
    c.rank_bytes = bytes(placed);
  }

  if (as_json) {
    print_json(c, placed.placement());
  } else {
    print("{}: {} steps of {} rows, {} copies of {} experts asked for, on {} ({}); times of '{}', {}\n\n",
          options.trace, c.num_steps, trace.num_rows(), options.replicas, config.num_experts,
          counted(layout.ranks(), "rank"), layout.text(), machine.name, arithmetic.numeric().text());
    print_text(c);
  }
  if (options.file.empty()) return kSuccess;
  write_text(options.file, to_text(placed.placement(), config.num_layers));
  if (!as_json) print("written: {}\n", options.file);
  return kSuccess;
}

}  // namespace moesaic::apps
