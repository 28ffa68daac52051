#pragma once

#include <map>
#include <optional>

#include "config/numeric_setting.hpp"
#include "plan/dispatch_plan.hpp"
#include "plan/expected_routing.hpp"
#include "plan/rank_placement.hpp"

/// What the exchanges of a layer cost: expected values under uniform routing.
namespace moesaic::plan {

/// How many ranks of each link class a rank has to do with.
using Peers = EnumArray<LinkClass, double, kNumLinkClasses>;
double total(const Peers& peers);
/// How many of the ranks [ranks.begin, ranks.end), without `me`, each link class leads to.
Peers peers_in(const RankPlacement& placement, WorldRank me, Range ranks);

/// An exchange as one rank sees it.
struct Transfer {
  double us = 0;
  EnumArray<LinkClass, double, kNumLinkClasses> bytes{};  ///< sent by this rank over links of each class

  Transfer& operator+=(const Transfer& other);
};

/// Bytes of a message to or from a rank of each link class.
using LinkBytes = EnumArray<LinkClass, double, kNumLinkClasses>;
/// To each of `peers` a message of send_bytes, while receive_bytes come from each: the messages leave one after the
/// other, the farthest one's latency counts, and the longer direction.
Transfer exchange(const Machine& machine, const Peers& peers, const LinkBytes& send_bytes,
                  const LinkBytes& receive_bytes);
Transfer exchange(const Machine& machine, const Peers& peers, double send_bytes, double receive_bytes);

/// Rows of a micro-batch, as the busiest rank sees them: all rows of the stage, those of its attention group, and those
/// that it owns.
struct BatchShape {
  double rows = 0, group_rows = 0, own_rows = 0;
};
/// The shape of `rows` rows of so many sequences, spread over the attention groups and their shards.
BatchShape batch_shape(const Layout& layout, std::int64_t rows, std::int64_t sequences);

/// The exchanges of one layer and the copying that goes with them, of one rank.
struct LayerExchanges {
  Transfer attention;  ///< gather of rows, partial sums of the output projection
  Transfer dispatch, combine;
  double normed_rows = 0;  ///< rows that the rank normalises and routes

  double us() const { return attention.us + dispatch.us + combine.us; }
};

/// Microseconds that norms, residual and router of a layer take for some rows.
double norms_us(const ModelConfig& config, double rows, const ComputeCosts& compute);

/// What the layers of a grid cost on a machine beside attention and experts. All that it is made of must outlive it.
class ExchangeCosts {
 public:
  ExchangeCosts(const Grid& grid, const NumericSetting& numeric, const Machine& machine, const ComputeCosts& compute,
                const RankPlacement& ranks);

  LayerExchanges layer(WorldRank rank, DispatchAlgorithm algorithm, const BatchShape& batch) const;

  /// Microseconds of a layer in which the algorithms differ: exchanges, copies, and norms and router of the rows that a
  /// rank owns. Of the slowest rank of the first stage.
  double overhead_us(DispatchAlgorithm algorithm, const BatchShape& batch) const;

  /// The algorithm with the least overhead_us(); the first of equals in the order of kAllDispatchAlgorithms. Left out
  /// are alltoallv, the reference, and hier where a stage has no nodes of several ranks, or they have no shared memory.
  DispatchAlgorithm cheapest(const BatchShape& batch, bool shared_memory = true) const;

  const Grid& grid() const { return grid_; }
  const Machine& machine() const { return machine_; }
  const ComputeCosts& compute() const { return compute_; }
  const RankPlacement& ranks() const { return ranks_; }
  /// Where a stage's rows go with this algorithm.
  const ExpectedRouting& routing(StageId stage, DispatchAlgorithm algorithm) const;

 private:
  struct Moe;

  int place_on_node(StageId stage) const;

  const Grid& grid_;
  const NumericSetting numeric_;
  const Machine& machine_;
  const ComputeCosts& compute_;
  const RankPlacement ranks_;
  std::map<int, ExpectedRouting> routings_;   // indexed by the place on its node at which a stage begins
  std::optional<ExpectedRouting> no_owners_;  // expected routing where all ranks own all rows
};

}  // namespace moesaic::plan
