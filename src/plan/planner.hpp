#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plan/footprint.hpp"
#include "plan/placement_file.hpp"

namespace moesaic::plan {

/// What a user asks of a layout; what is not given is chosen.
struct LayoutRequest {
  int ranks = 1;
  std::optional<int> pp, dp, tp, ep, etp;
};

/// A chosen layout and the reason for it.
struct Choice {
  Layout layout;
  std::string reason;
};

/// A request that cannot work.
struct Refusal {
  std::string error;  ///< what was asked
  std::string rule;   ///< what it breaks
  std::vector<Layout>
      nearest;  ///< layouts that work: of the same rank count, else of the nearest counts below and above

  std::string message() const;
};

/// All layouts of a rank count that work.
std::vector<Layout> all_layouts(const ModelConfig& config, int ranks);
/// The layouts of all_layouts() that satisfy what the user has fixed.
std::vector<Layout> matching_layouts(const ModelConfig& config, const LayoutRequest& request);

/// The layout that fits the request and takes the least time for one token of one sequence by the cost model, on the
/// machine preset "ordinary"; or why there is none.
struct PlanResult {
  std::optional<Choice> choice;
  Refusal refusal;  ///< meaningful when there is no choice
};
PlanResult choose_layout(const ModelConfig& config, const LayoutRequest& request, const Arithmetic& arithmetic);
/// The same among the layouts that can have these copies. Error when layouts fit, but none can.
PlanResult choose_layout(const ModelConfig& config, const LayoutRequest& request, const Arithmetic& arithmetic,
                         const PlacementRequest& copies, const std::string& file_text);

}  // namespace moesaic::plan
