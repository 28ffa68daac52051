#include "plan/placement_file.hpp"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.hpp"

namespace moesaic::plan {
namespace {

using nlohmann::ordered_json;
constexpr const char* kFormat = "moesaic placement 1";
constexpr const char* kRemedy = "moesaic plan --from-trace writes one";

}  // namespace

std::string to_text(const Placement& placement, std::int64_t num_layers) {
  ordered_json json = {{"format", kFormat},
                       {"num_experts", placement.num_experts()},
                       {"num_subsets", placement.num_subsets()},
                       {"num_layers", num_layers}};
  std::string text = json.dump();
  text.pop_back();
  text += ",\n\"experts\":[\n";  // a layer a line
  for (std::int64_t layer = 0; layer < num_layers; ++layer)
    text += ordered_json(placement.subsets(layer)).dump() + (layer + 1 < num_layers ? ",\n" : "\n");
  return text + "]}\n";
}

Placement placement_from_text(const std::string& text, const std::string& file, const ModelConfig& config,
                              const Layout& layout) {
  const ordered_json json = ordered_json::parse(text, nullptr, false);
  if (!json.is_object() || json.value("format", ordered_json()) != kFormat)
    fail("--placement {}: is not a '{}' file; {}", file, kFormat, kRemedy);
  const auto expect = [&](const char* field, std::int64_t expected, const char* what) {
    const ordered_json found = json.value(field, ordered_json());
    if (found != expected)
      fail("--placement {}: {} is {}, {} is {}; make a placement for this job, {}", file, field, found.dump(), what,
           expected, kRemedy);
  };
  expect("num_experts", config.num_experts, "the model's");
  expect("num_layers", config.num_layers, "the model's");
  expect("num_subsets", layout.ep, "the job's ep");
  std::vector<Placement::Subsets> layers;
  try {
    layers = json.value("experts", ordered_json()).get<std::vector<Placement::Subsets>>();
  } catch (const nlohmann::json::exception&) {
    fail("--placement {}: 'experts' is not a list of layers of subsets of experts; {}", file, kRemedy);
  }
  Placement placement(config.num_experts, std::move(layers), "--placement " + file);
  if (placement.num_subsets() != layout.ep || placement.num_layers() != config.num_layers)
    fail("--placement {}: 'experts' has {} layers of {} subsets, expected {} of {}", file, placement.num_layers(),
         placement.num_subsets(), config.num_layers, layout.ep);
  return placement;
}

Placement place_experts(const PlacementRequest& request, const std::string& file_text, const ModelConfig& config,
                        const Layout& layout, const Domains& nodes) {
  if (!request.file.empty()) return placement_from_text(file_text, request.file, config, layout);
  if (const std::string rule = broken_copies_rule(config.num_experts, layout.ep, request.replicas); !rule.empty())
    fail("--replicas is {}, expected {}", request.replicas, rule);
  if (request.replicas == 0) return {config.num_experts, layout.ep};
  return {config.num_experts, {spread_copies(Grid(config, layout), nodes, request.replicas)}};
}

std::string file_text(const PlacementRequest& request) {
  if (request.file.empty()) return {};
  if (request.replicas > 0)
    fail("--replicas {} beside --placement {}: the file has its copies; give one of the two", request.replicas,
         request.file);
  std::ifstream stream(request.file);
  std::ostringstream text;
  if (!stream || !(text << stream.rdbuf())) fail("--placement {}: is empty or cannot be read", request.file);
  return text.str();
}

std::vector<Grid> placed_grids(const PlacementRequest& request, const std::string& file_text, const ModelConfig& config,
                               std::span<const Layout> layouts, int ranks_per_node) {
  const ordered_json json = ordered_json::parse(file_text, nullptr, false);
  const ordered_json num_subsets = json.is_object() ? json.value("num_subsets", ordered_json()) : ordered_json();
  const auto can = [&](const Layout& layout) {
    return request.file.empty() ? broken_copies_rule(config.num_experts, layout.ep, request.replicas).empty()
                                : num_subsets == layout.ep;
  };
  const auto place = [&](const Layout& layout) {
    std::vector<int> nodes;
    for (int rank = 0; rank < layout.ranks_per_stage(); ++rank) nodes.push_back(rank / ranks_per_node);
    return place_experts(request, file_text, config, layout, Domains(nodes));
  };
  std::vector<Grid> grids;
  for (const Layout& layout : layouts)
    if (can(layout)) grids.emplace_back(config, layout, place(layout));
  if (grids.empty() && !layouts.empty()) place(layouts.back());  // its error says why
  return grids;
}

std::string describe(const Placement& placement, const PlacementRequest& request) {
  std::string sizes;
  for (int subset = 0; subset < placement.num_subsets(); ++subset)
    sizes += fmt::format(" {}", placement.slots(subset).size());
  const std::int64_t copies = placement.num_copies();
  return fmt::format("{} cop{} in {} by {}; the subsets hold{} of {}", copies, copies == 1 ? "y" : "ies",
                     placement.num_layers() == 1 ? "each layer" : "the layer with the most",
                     request.file.empty() ? "--replicas" : request.file, sizes, placement.num_experts());
}

}  // namespace moesaic::plan
