#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plan/dispatch_plan.hpp"

namespace moesaic::plan {

/// What a user asks of dispatch and combine.
struct DispatchRequest {
  std::optional<DispatchAlgorithm> algorithm;  ///< nothing: chosen for each batch
  int node_ranks = 0;  ///< ranks of a stage that count as one node, in rank order; 0: what MPI says
};

/// Which algorithm a batch is run with: the same on all ranks of a stage, since it follows from what all know.
class DispatchPolicy {
 public:
  /// nodes: by rank of the stage, equal for ranks of one node.
  DispatchPolicy(const Grid& grid, const DispatchRequest& request, std::vector<int> nodes);

  DispatchAlgorithm algorithm(std::int64_t num_rows) const;
  const std::vector<int>& nodes() const { return nodes_; }
  /// "flat: as asked", "auto: dense up to 32 rows (...), flat beyond (...)".
  std::string text() const;

 private:
  std::optional<DispatchAlgorithm> asked_;
  std::vector<int> nodes_;
  std::int64_t most_dense_rows_ = 0;
  DispatchAlgorithm beyond_ = DispatchAlgorithm::kFlat;
};

}  // namespace moesaic::plan
