#include "plan/planner.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/digits.hpp"
#include "base/error.hpp"
#include "plan/footprint.hpp"

namespace moesaic::plan {
namespace {

using Axis = std::pair<const char*, std::optional<int> LayoutRequest::*>;
constexpr Axis kAxes[] = {{"pp", &LayoutRequest::pp},
                          {"dp", &LayoutRequest::dp},
                          {"tp", &LayoutRequest::tp},
                          {"ep", &LayoutRequest::ep},
                          {"etp", &LayoutRequest::etp}};

int axis_of(const Layout& layout, std::size_t axis) {
  const int values[] = {layout.pp, layout.dp, layout.tp, layout.ep, layout.etp};
  return values[axis];
}

/// Sum over the axes that the request names of how far the layout is from it.
int distance(const LayoutRequest& request, const Layout& layout) {
  int sum = 0;
  for (std::size_t i = 0; i < std::size(kAxes); ++i)
    if (const auto asked = request.*kAxes[i].second) sum += std::abs(*asked - axis_of(layout, i));
  return sum;
}

std::string text(const LayoutRequest& request) {
  std::string text = fmt::format("ranks={}", request.ranks);
  for (const auto& [axis, member] : kAxes)
    if (const auto asked = request.*member) text += fmt::format(" {}={}", axis, *asked);
  return text;
}

/// Fills in what follows from the given axes alone, so that the rule that is broken can be named.
std::string explain(const ModelConfig& config, const LayoutRequest& request) {
  if (request.ranks < 1) return "ranks >= 1";
  const int pp = request.pp.value_or(1);
  if (pp < 1 || pp > config.num_layers)
    return fmt::format("1 <= pp <= num_layers: pp={} num_layers={}", pp, config.num_layers);
  if (request.ranks % pp != 0) return fmt::format("ranks = pp*ep*etp: {} is no multiple of pp={}", request.ranks, pp);
  const int stage = request.ranks / pp;
  Layout probe{pp, 1, 1, 1, 1};
  probe.tp = request.tp.value_or(request.dp && *request.dp > 0 ? std::max(1, stage / *request.dp) : 1);
  probe.dp = request.dp.value_or(probe.tp > 0 ? std::max(1, stage / probe.tp) : 1);
  probe.ep = request.ep.value_or(request.etp && *request.etp > 0 ? std::max(1, stage / *request.etp) : 1);
  probe.etp = request.etp.value_or(request.ep && *request.ep > 0 ? std::max(1, stage / *request.ep) : 1);
  if (request.ep && *request.ep > config.num_experts) return broken_rule(config, {1, 1, 1, *request.ep, 1});
  if (request.etp && *request.etp > kNumLeaves) return broken_rule(config, {1, 1, 1, 1, *request.etp});
  if (request.tp && *request.tp > attention_units(config)) return broken_rule(config, {1, 1, *request.tp, 1, 1});
  if ((request.ep || request.etp) && probe.ep * probe.etp != stage)
    return fmt::format("ranks = pp*ep*etp: {} != {}*{}*{}", request.ranks, pp, probe.ep, probe.etp);
  if ((request.tp || request.dp) && probe.dp * probe.tp != stage)
    return fmt::format("ranks = pp*dp*tp: {} != {}*{}*{}", request.ranks, pp, probe.dp, probe.tp);
  if (!request.ep && !request.etp) {  // any split of the experts would do; let the attention axes be judged
    probe.ep = 1;
    probe.etp = 1;
    for (int ep = 1; ep <= std::min<std::int64_t>(stage, config.num_experts); ++ep)
      if (stage % ep == 0 && stage / ep <= kNumLeaves) probe.ep = ep, probe.etp = stage / ep;
  }
  if (const std::string rule = broken_rule(config, probe); !rule.empty() && probe.ep * probe.etp == stage) return rule;
  return fmt::format("ranks = pp*ep*etp with pp <= {}, ep <= {}, etp <= 8, and = pp*dp*tp with tp <= {}",
                     config.num_layers, config.num_experts, attention_units(config));
}

std::vector<Layout> nearest_layouts(const ModelConfig& config, const LayoutRequest& request,
                                    const Arithmetic& arithmetic) {
  constexpr std::size_t kMost = 3;
  std::vector<Layout> nearest = all_layouts(config, request.ranks);
  if (!nearest.empty()) {
    std::stable_sort(nearest.begin(), nearest.end(),
                     [&](const Layout& a, const Layout& b) { return distance(request, a) < distance(request, b); });
    if (nearest.size() > kMost) nearest.resize(kMost);
    return nearest;
  }
  const auto cheapest = [&](int ranks) {
    const auto all = all_layouts(config, ranks);
    const auto best = std::min_element(all.begin(), all.end(), [&](const Layout& a, const Layout& b) {
      return decode_cost_ms(config, a, arithmetic) < decode_cost_ms(config, b, arithmetic);
    });
    if (best != all.end()) nearest.push_back(*best);
    return best != all.end();
  };
  const std::int64_t most = config.num_layers * config.num_experts * kNumLeaves;
  for (int below = static_cast<int>(std::min<std::int64_t>(request.ranks - 1, most)); below >= 1; --below)
    if (cheapest(below)) break;
  for (int above = request.ranks + 1; above >= 1 && above <= most; ++above)
    if (cheapest(above)) break;
  return nearest;
}

}  // namespace

std::string Refusal::message() const {
  std::string list;
  for (const Layout& layout : nearest)
    list += fmt::format("{}{} rank{} ({})", list.empty() ? "" : "; ", layout.ranks(), layout.ranks() == 1 ? "" : "s",
                        layout.text());
  return fmt::format("no layout for {}: {}; nearest that work: {}", error, rule, list.empty() ? "none" : list);
}

std::vector<Layout> all_layouts(const ModelConfig& config, int ranks) {
  std::vector<Layout> layouts;
  for (int pp = 1; pp <= std::min<std::int64_t>(ranks, config.num_layers); ++pp) {
    if (ranks % pp != 0) continue;
    const int stage = ranks / pp;
    for (int ep = 1; ep <= std::min<std::int64_t>(stage, config.num_experts); ++ep) {
      if (stage % ep != 0 || stage / ep > kNumLeaves) continue;
      for (int tp = 1; tp <= std::min(stage, attention_units(config)); ++tp)
        if (stage % tp == 0) layouts.push_back({pp, stage / tp, tp, ep, stage / ep});
    }
  }
  return layouts;
}

std::vector<Layout> matching_layouts(const ModelConfig& config, const LayoutRequest& request) {
  std::vector<Layout> layouts = all_layouts(config, request.ranks);
  std::erase_if(layouts, [&](const Layout& layout) { return distance(request, layout) != 0; });
  return layouts;
}

double decode_cost_ms(const ModelConfig& config, const Layout& layout, const Arithmetic& arithmetic) {
  constexpr double kRead_bytes_per_ms = 20e6;  // of one rank's share of a node's memory
  constexpr double kWire_bytes_per_ms = 5e6;   // one message stream between two ranks
  constexpr double kMessage_ms = 0.004;        // start of one collective per peer that takes part
  const Grid grid(config, layout);
  const auto widest = [](const std::vector<Range>& cut) {
    std::int64_t most = 0;
    for (const Range& part : cut) most = std::max(most, part.size());
    return static_cast<double>(most) / kNumLeaves;
  };
  const double width = static_cast<double>(config.emb_size);
  // Of a column of the model's width; what scales add is nearly the same in all.
  const double weight_bytes = static_cast<double>(matrix_bytes(arithmetic.format, 1, config.emb_size, 1)) /
                              static_cast<double>(config.emb_size);
  const double attention_bytes = 2 * width * static_cast<double>(config.attn_size() + config.kv_size()) * weight_bytes *
                                 widest(grid.attention_leaves());
  const double expert_bytes =
      3 * width * static_cast<double>(config.ffn_size) * weight_bytes * widest(grid.expert_leaves());
  // The rank that holds most of the chosen experts sets the pace: its expected number under uniform routing, at least
  // one.
  const double active = static_cast<double>(config.num_selected_experts);
  const double busiest = std::max(active / layout.ep, std::min(active, 1 + (active - 1) / layout.ep));
  const double read_ms = (attention_bytes + busiest * expert_bytes) / kRead_bytes_per_ms;
  const NumericSetting numeric = arithmetic.numeric();
  const auto row_ms = [&](const GemmInput& row) {
    return (static_cast<double>(row.row_bytes()) + 4 * width) / kWire_bytes_per_ms;
  };
  const double attention_ms =
      layout.tp == 1 ? 0 : 2 * (layout.tp - 1) * kMessage_ms + row_ms(numeric.row(config.emb_size));
  const int stage = grid.ranks_per_stage();
  const double holders = std::min<double>(active, layout.ep) * layout.etp;
  const double expert_ms = stage == 1 ? 0
                                      : 2 * std::log2(stage) * kMessage_ms +
                                            holders * (kMessage_ms + row_ms(numeric.expert_row(config.emb_size)));
  const double head_ms = width * static_cast<double>(config.vocab_size) / stage *
                         static_cast<double>(size_bytes(activation_type(numeric.numerics))) / kRead_bytes_per_ms;
  return static_cast<double>(config.num_layers) * (read_ms + attention_ms + expert_ms) + head_ms +
         (layout.pp - 1) * (kMessage_ms + 4 * width / kWire_bytes_per_ms);
}

PlanResult choose_layout(const ModelConfig& config, const LayoutRequest& request, const Arithmetic& arithmetic) {
  return choose_layout(config, request, arithmetic, {}, "");
}

PlanResult choose_layout(const ModelConfig& config, const LayoutRequest& request, const Arithmetic& arithmetic,
                         const PlacementRequest& copies, const std::string& file_text) {
  PlanResult result;
  double best_ms = 0;
  const std::vector<Layout> candidates = layouts_with(copies, file_text, config, matching_layouts(config, request));
  for (const Layout& layout : candidates) {
    // Equal costs go to fewer data-parallel groups, so that one sequence keeps all ranks busy.
    const double ms = decode_cost_ms(config, layout, arithmetic);
    if (result.choice && (ms > best_ms || (ms == best_ms && layout.dp >= result.choice->layout.dp))) continue;
    best_ms = ms;
    result.choice = Choice{layout, ""};
  }
  if (result.choice)
    result.choice->reason = fmt::format(
        "least estimated time for one token of one sequence ({} ms by nominal constants) of {} layout{} that fit",
        in_digits(best_ms, 3), candidates.size(), candidates.size() == 1 ? "" : "s");
  else
    result.refusal = {text(request), explain(config, request), nearest_layouts(config, request, arithmetic)};
  return result;
}

}  // namespace moesaic::plan
