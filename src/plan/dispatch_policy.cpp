#include "plan/dispatch_policy.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/digits.hpp"
#include "plan/exchange_cost.hpp"

namespace moesaic::plan {
namespace {

constexpr std::int64_t kMostRows = 8192;  ///< that are told apart

/// 1, 2, 3, 4, 6, 8, 12, ...
std::vector<std::int64_t> row_counts() {
  std::vector<std::int64_t> counts{1};
  for (std::int64_t rows = 2; rows <= kMostRows; rows *= 2) {
    counts.push_back(rows);
    if (rows + rows / 2 <= kMostRows) counts.push_back(rows + rows / 2);
  }
  return counts;
}

int most_ranks_of_a_node(const std::vector<int>& nodes) {
  std::map<int, int> ranks;
  int most = 1;
  for (const int node : nodes) most = std::max(most, ++ranks[node]);
  return most;
}

}  // namespace

std::vector<int> nodes_as_asked(std::vector<int> nodes, int node_ranks) {
  if (node_ranks > 0)
    for (std::size_t rank = 0; rank < nodes.size(); ++rank) nodes[rank] = static_cast<int>(rank) / node_ranks;
  return nodes;
}

DispatchPolicy::DispatchPolicy(const Grid& grid, const DispatchRequest& request, std::vector<int> nodes,
                               Numerics numerics, int num_threads)
    : asked_(request.algorithm),
      payload_(request.payload),
      nodes_(nodes_as_asked(std::move(nodes), request.node_ranks)) {
  const Machine machine = !request.machine_text.empty() ? machine_from_text(request.machine_text, request.machine)
                          : !request.machine.empty()    ? read_machine(request.machine)
                                                        : machine_preset("ordinary");
  machine_ = machine.name;
  if (asked_ || grid.ranks_per_stage() == 1) return;
  const int node_ranks = most_ranks_of_a_node(nodes_);
  const RankPlacement placement{node_ranks, std::min(node_ranks, machine.ranks_per_numa)};
  const ExchangeCosts costs(grid, {numerics, payload_}, machine, machine.with_threads(num_threads), placement);
  for (const std::int64_t rows : row_counts()) {
    const BatchShape batch = batch_shape(grid.layout(), rows, rows);
    const DispatchAlgorithm best = costs.cheapest(batch, request.shared_memory);
    if (!choices_.empty() && choices_.back().algorithm == best) continue;
    choices_.push_back({rows, best, costs.overhead_us(best, batch)});
  }
}

DispatchAlgorithm DispatchPolicy::algorithm(std::int64_t num_rows) const {
  if (asked_) return *asked_;
  DispatchAlgorithm best = choices_.empty() ? DispatchAlgorithm::kFlat : choices_.front().algorithm;
  for (const Choice& choice : choices_)
    if (num_rows >= choice.rows) best = choice.algorithm;
  return best;
}

std::string DispatchPolicy::text() const {
  if (asked_) return fmt::format("{}: as asked", name(*asked_));
  if (choices_.empty()) return "none: one rank a stage";
  std::string text = fmt::format("auto by the costs of '{}':", machine_);
  for (std::size_t i = 0; i < choices_.size(); ++i) {
    const bool last = i + 1 == choices_.size();
    const std::string until =
        last ? i == 0 ? " for all rows" : " beyond" : fmt::format(" up to {} rows", choices_[i + 1].rows - 1);
    text += fmt::format("{} {}{} (predicted {} us a layer from {} row{} on)", i == 0 ? "" : ",",
                        name(choices_[i].algorithm), until, in_digits(choices_[i].us, 3), choices_[i].rows,
                        choices_[i].rows == 1 ? "" : "s");
  }
  return text;
}

}  // namespace moesaic::plan
