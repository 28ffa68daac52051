#include "plan/planner.hpp"

#include <algorithm>
#include <cstdlib>

#include "base/digits.hpp"
#include "base/error.hpp"
#include "plan/cost_model.hpp"

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

/// The machine that layouts are chosen for; its constants are documented in docs/cost-model.md.
const Machine& planned_machine() {
  static const Machine machine = machine_preset("ordinary");
  return machine;
}

/// The grid that decodes one sequence fastest; of equal ones that with the fewest data-parallel groups, so that one
/// sequence keeps all ranks busy.
std::optional<RankedLayout> least_decode_time(const ModelConfig& config, const Arithmetic& arithmetic,
                                              std::span<const Grid> grids) {
  const Machine& machine = planned_machine();
  CostModel model(config, arithmetic, machine);
  const auto ranked = rank_layouts(model, grids, Job{}, {machine.ranks_per_node, machine.ranks_per_numa});
  const auto best = std::ranges::min_element(ranked, {}, [](const RankedLayout& candidate) {
    return std::pair(candidate.prediction.ms_per_token, candidate.layout.dp);
  });
  return best == ranked.end() ? std::nullopt : std::optional(*best);
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
    const auto best = least_decode_time(
        config, arithmetic, placed_grids({}, "", config, all_layouts(config, ranks), planned_machine().ranks_per_node));
    if (best) nearest.push_back(best->layout);
    return best.has_value();
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

PlanResult choose_layout(const ModelConfig& config, const LayoutRequest& request, const Arithmetic& arithmetic) {
  return choose_layout(config, request, arithmetic, {}, "");
}

PlanResult choose_layout(const ModelConfig& config, const LayoutRequest& request, const Arithmetic& arithmetic,
                         const PlacementRequest& copies, const std::string& file_text) {
  const std::vector<Grid> grids =
      placed_grids(copies, file_text, config, matching_layouts(config, request), planned_machine().ranks_per_node);
  PlanResult result;
  if (const auto best = least_decode_time(config, arithmetic, grids))
    result.choice = Choice{
        best->layout,
        fmt::format("least predicted time for one token of one sequence ({} ms by the costs of '{}') of {} layout{} "
                    "that fit",
                    in_digits(best->prediction.ms_per_token, 3), planned_machine().name, grids.size(),
                    grids.size() == 1 ? "" : "s")};
  else
    result.refusal = {text(request), explain(config, request), nearest_layouts(config, request, arithmetic)};
  return result;
}

}  // namespace moesaic::plan
