#include "plan/dispatch_policy.hpp"

#include <fmt/format.h>

#include <set>

namespace moesaic::plan {
namespace {

/// Rows up to which one exchange of sums less a layer is worth that every rank normalises and routes all rows.
constexpr std::int64_t kDenseRows = 32;

}  // namespace

DispatchPolicy::DispatchPolicy(const Grid& grid, const DispatchRequest& request, std::vector<int> nodes)
    : asked_(request.algorithm), nodes_(std::move(nodes)) {
  if (request.node_ranks > 0)
    for (std::size_t rank = 0; rank < nodes_.size(); ++rank) nodes_[rank] = static_cast<int>(rank) / request.node_ranks;
  const auto num_nodes = std::set(nodes_.begin(), nodes_.end()).size();
  most_dense_rows_ = grid.ranks_per_stage() > 1 ? kDenseRows : 0;
  if (num_nodes > 1 && num_nodes < nodes_.size()) beyond_ = DispatchAlgorithm::kHier;
}

DispatchAlgorithm DispatchPolicy::algorithm(std::int64_t num_rows) const {
  if (asked_) return *asked_;
  return num_rows <= most_dense_rows_ ? DispatchAlgorithm::kDense : beyond_;
}

std::string DispatchPolicy::text() const {
  if (asked_) return fmt::format("{}: as asked", name(*asked_));
  if (nodes_.size() == 1) return "none: one rank a stage";
  return fmt::format("auto: dense up to {} rows (fewest messages one after another), {} beyond ({})", most_dense_rows_,
                     name(beyond_),
                     beyond_ == DispatchAlgorithm::kHier ? "a row crosses to a node once" : "fewest bytes");
}

}  // namespace moesaic::plan
