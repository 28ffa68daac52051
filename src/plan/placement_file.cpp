#include "plan/placement_file.hpp"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.hpp"
#include "base/json_text.hpp"

namespace moesaic::plan {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
constexpr const char* kFormat = "moesaic placement 1";
constexpr const char* kRemedy = "moesaic plan --from-trace writes one";

json parse(const std::string& text, const std::string& file) {
  return parse_json(text, "--placement " + file, kRemedy);
}

}  // namespace

std::string to_text(const Placement& placement, std::int64_t num_layers) {
  ordered_json json = {{"format", kFormat},
                       {"num_experts", placement.num_experts()},
                       {"num_subsets", placement.num_subsets()},
                       {"num_layers", num_layers}};
  std::string text = json_text(json);
  text.pop_back();
  text += ",\n\"experts\":[\n";  // a layer a line
  for (const ModelLayer layer : ids<ModelLayer>(num_layers))
    text += json_text(ordered_json(placement.subsets(layer))) + (layer.next().value() < num_layers ? ",\n" : "\n");
  return text + "]}\n";
}

Placement placement_from_text(const std::string& text, const std::string& file, const ModelConfig& config,
                              const Layout& layout) {
  const json root = parse(text, file);
  if (!root.is_object() || root.value("format", json()) != kFormat)
    fail("--placement {}: is not a '{}' file; {}", file, kFormat, kRemedy);
  const auto expect = [&](const char* field, std::int64_t expected, const char* what) {
    const json found = root.value(field, json());
    if (found != expected)
      fail("--placement {}: {} is {}, {} is {}; make a placement for this job, {}", file, field, json_text(found), what,
           expected, kRemedy);
  };
  expect("num_experts", config.num_experts, "the model's");
  expect("num_layers", config.num_layers, "the model's");
  expect("num_subsets", layout.ep, "the job's ep");
  const auto list_of = [&](const json& list) -> const json& {
    if (!list.is_array())
      fail("--placement {}: 'experts' is not a list of layers of subsets of experts; {}", file, kRemedy);
    return list;
  };
  const json experts = root.value("experts", json());
  std::vector<Placement::Subsets> layers;
  for (const json& layer : list_of(experts))
    for (layers.emplace_back(); const json& subset : list_of(layer))
      for (auto& held = layers.back().emplace_back(); const json& expert : list_of(subset)) {
        const auto id = expert.is_number_integer() ? expert.get<std::int64_t>() : -1;
        if (id < 0 || id >= config.num_experts)
          fail("--placement {}: layer {}, subset {}: expert {}, expected 0 to {}", file, layers.size() - 1,
               layers.back().size() - 1, json_text(expert), config.num_experts - 1);
        held.emplace_back(id);
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

std::string read_placement(const PlacementRequest& request) {
  if (request.file.empty()) return {};
  if (request.replicas > 0)
    fail("--replicas {} beside --placement {}: the file has its copies; give one of the two", request.replicas,
         request.file);
  std::ifstream stream(request.file);
  std::ostringstream text;
  if (!stream || !(text << stream.rdbuf())) fail("--placement {}: is empty or cannot be read", request.file);
  return text.str();
}

std::vector<Layout> layouts_with(const PlacementRequest& request, const std::string& file_text,
                                 const ModelConfig& config, std::vector<Layout> layouts) {
  if (layouts.empty() || !request.asked()) return layouts;
  const auto widest = *std::ranges::max_element(layouts, {}, &Layout::ep);
  if (request.file.empty()) {
    if (const auto rule = broken_copies_rule(config.num_experts, widest.ep, request.replicas); !rule.empty())
      fail("--replicas is {}, expected {}", request.replicas, rule);
    std::erase_if(layouts, [&](const Layout& layout) {
      return !broken_copies_rule(config.num_experts, layout.ep, request.replicas).empty();
    });
    return layouts;
  }
  const json root = parse(file_text, request.file);
  const json num_subsets = root.is_object() ? root.value("num_subsets", json()) : json();
  std::erase_if(layouts, [&](const Layout& layout) { return num_subsets != layout.ep; });
  if (layouts.empty()) placement_from_text(file_text, request.file, config, widest);  // its error says why
  return layouts;
}

std::vector<Grid> placed_grids(const PlacementRequest& request, const std::string& file_text, const ModelConfig& config,
                               std::vector<Layout> layouts, int ranks_per_node) {
  std::vector<Grid> grids;
  for (const Layout& layout : layouts_with(request, file_text, config, std::move(layouts))) {
    const Domains nodes = RankPlacement{ranks_per_node}.nodes(Grid(config, layout), StageId(0));
    grids.emplace_back(config, layout, place_experts(request, file_text, config, layout, nodes));
  }
  return grids;
}

std::string describe(const Placement& placement, const PlacementRequest& request) {
  std::string sizes;
  for (const SubsetId subset : ids<SubsetId>(placement.num_subsets()))
    sizes += fmt::format(" {}", placement.slots(subset).size());
  const std::int64_t copies = placement.num_copies();
  return fmt::format("{} cop{} in {} by {}; the subsets hold{} of {}", copies, copies == 1 ? "y" : "ies",
                     placement.num_layers() == 1 ? "each layer" : "the layer with the most",
                     request.file.empty() ? "--replicas" : request.file, sizes, placement.num_experts());
}

}  // namespace moesaic::plan
