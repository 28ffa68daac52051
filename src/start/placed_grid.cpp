#include "start/placed_grid.hpp"

#include "base/log.hpp"
#include "comm/agree.hpp"
#include "moe/dispatch.hpp"
#include "plan/dispatch_policy.hpp"

namespace moesaic {

std::string placement_text(const comm::Communicator& world, const plan::PlacementRequest& request) {
  std::string text;
  comm::on_root(world, [&] { text = plan::read_placement(request); });
  world.broadcast(text, 0);
  return text;
}

plan::Grid placed_grid(const comm::Communicator& world, const ModelConfig& config, const plan::Layout& layout,
                       const plan::PlacementRequest& request, int node_ranks) {
  if (!request.asked()) return {config, layout};
  const std::string text = placement_text(world, request);
  // Of the first stage: the others' nodes are cut alike, or a copy is on another node than it might be.
  std::vector<int> nodes = plan::nodes_as_asked(moe::nodes_of(world), node_ranks);
  nodes.resize(static_cast<std::size_t>(layout.ranks_per_stage()));
  std::optional<plan::Placement> placement;
  comm::together(world, [&] { placement = place_experts(request, text, config, layout, plan::Domains(nodes)); });
  spdlog::info("experts: {}", describe(*placement, request));
  return {config, layout, std::move(*placement)};
}

}  // namespace moesaic
