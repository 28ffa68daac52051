#include "engine/placed_grid.hpp"

#include <fstream>
#include <sstream>

#include "base/log.hpp"
#include "comm/agree.hpp"
#include "moe/dispatch.hpp"
#include "plan/dispatch_policy.hpp"

namespace moesaic {
namespace {

std::string read_text(const std::string& file) {
  std::ifstream stream(file);
  std::ostringstream text;
  if (!stream || !(text << stream.rdbuf())) fail("--placement {}: is empty or cannot be read", file);
  return text.str();
}

}  // namespace

plan::Grid placed_grid(const comm::Communicator& world, const ModelConfig& config, const plan::Layout& layout,
                       const plan::PlacementRequest& request, int node_ranks) {
  if (!request.asked()) return {config, layout};
  const plan::Domains alone = plan::Domains::alone(layout.ranks_per_stage());
  std::string text;
  comm::on_root(world, [&] {
    if (!request.file.empty() && request.replicas == 0) text = read_text(request.file);
    place_experts(request, text, config, layout, alone);
  });
  world.broadcast(text, 0);
  // Of the first stage: the others' nodes are cut alike, or a copy is on another node than it might be.
  std::vector<int> nodes = plan::nodes_as_asked(moe::nodes_of(world), node_ranks);
  nodes.resize(static_cast<std::size_t>(layout.ranks_per_stage()));
  plan::Placement placement = place_experts(request, text, config, layout, plan::Domains(nodes));
  spdlog::info("experts: {}", describe(placement, request));
  return {config, layout, std::move(placement)};
}

}  // namespace moesaic
