#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/numeric_setting.hpp"
#include "plan/dispatch_plan.hpp"
#include "plan/machine_model.hpp"

namespace moesaic::plan {

/// What a user asks of dispatch and combine.
struct DispatchRequest {
  std::optional<DispatchAlgorithm> algorithm;  ///< nothing: chosen for each batch
  DispatchPayload payload = DispatchPayload::kAct;
  int node_ranks = 0;         ///< ranks of a stage that count as one node, in rank order; 0: what MPI says
  std::string machine;        ///< preset or file whose costs decide; empty: an ordinary cluster's
  std::string machine_text;   ///< the file's text, once rank 0 has read it for all
  bool shared_memory = true;  ///< whether nodes have the room in it that kHier wants
};

/// nodes: by rank; unless node_ranks is 0, that many neighbours count as a node instead.
std::vector<int> nodes_as_asked(std::vector<int> nodes, int node_ranks);

/// Which algorithm a batch is run with: the same on all ranks of a job, since it follows from what all know.
class DispatchPolicy {
 public:
  /// From `rows` rows on, up to the next choice: the cheapest algorithm and what it costs a layer.
  struct Choice {
    std::int64_t rows = 0;
    DispatchAlgorithm algorithm = DispatchAlgorithm::kFlat;
    double us = 0;
    friend bool operator==(const Choice&, const Choice&) = default;
  };

  /// nodes: by rank of the stage, equal for ranks of one node. num_threads: of a rank.
  DispatchPolicy(const Grid& grid, const DispatchRequest& request, std::vector<int> nodes, Numerics numerics,
                 int num_threads = 0);

  DispatchAlgorithm algorithm(std::int64_t num_rows) const;
  DispatchPayload payload() const { return payload_; }
  const std::vector<int>& nodes() const { return nodes_; }
  /// Stages may see other nodes, but must choose alike: all take over the choices of the first.
  const std::vector<Choice>& choices() const { return choices_; }
  void adopt(std::vector<Choice> choices) { choices_ = std::move(choices); }
  /// "flat: as asked", "auto by the costs of ordinary: dense up to 24 rows (31 us a layer), flat beyond (...)".
  std::string text() const;

 private:
  std::optional<DispatchAlgorithm> asked_;
  DispatchPayload payload_;
  std::vector<int> nodes_;
  std::string machine_;
  std::vector<Choice> choices_;  // ascending rows, from 1 on
};

}  // namespace moesaic::plan
