#pragma once

#include "plan/rank_placement.hpp"
#include "plan/replicas.hpp"

namespace moesaic::plan {

/// What a user asks of the experts' places.
struct PlacementRequest {
  std::int64_t replicas = 0;  ///< --replicas: copies of experts in each layer
  std::string file;           ///< --placement; empty: none
  bool asked() const { return replicas > 0 || !file.empty(); }
};

/// The text of a file that --placement takes, JSON: format, num_experts, num_subsets, num_layers, and `experts`: of
/// each layer, of each subset, the experts that it holds, ascending.
std::string to_text(const Placement& placement, std::int64_t num_layers);

/// The placement in such a text. Error that names `file` when it is none, or one for another model or ep.
Placement placement_from_text(const std::string& text, const std::string& file, const ModelConfig& config,
                              const Layout& layout);

/// What is asked for; file_text: of the file, where one is. nodes: of a stage's ranks, for --replicas. Error when
/// there are more copies than a stage can have.
Placement place_experts(const PlacementRequest& request, const std::string& file_text, const ModelConfig& config,
                        const Layout& layout, const Domains& nodes);

/// The text of the file that is asked for; empty where none is. Error when it cannot be read, or copies are asked for
/// beside it.
std::string read_placement(const PlacementRequest& request);

/// Those of some layouts that can have what is asked for. Error when there are layouts, but none that can.
std::vector<Layout> layouts_with(const PlacementRequest& request, const std::string& file_text,
                                 const ModelConfig& config, std::vector<Layout> layouts);

/// Their grids. ranks_per_node: of the job, in rank order.
std::vector<Grid> placed_grids(const PlacementRequest& request, const std::string& file_text, const ModelConfig& config,
                               std::vector<Layout> layouts, int ranks_per_node);

/// "2 copies a layer by --replicas 2; subsets hold 3 3 2 2 of 8 experts".
std::string describe(const Placement& placement, const PlacementRequest& request);

}  // namespace moesaic::plan
