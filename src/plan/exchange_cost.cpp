#include "plan/exchange_cost.hpp"

#include <algorithm>
#include <cmath>

#include "config/numeric_setting.hpp"

namespace moesaic::plan {
namespace {

constexpr double kRoundings = 2, kResiduals = 2;  ///< passes over the rows of a layer, beside its norms

double ceil_div(double a, double b) { return std::ceil(a / b); }

/// How many ranks of a stage lie on one node with the rank, itself too.
double members(const RankPlacement& placement, WorldRank me, Range stage) {
  const Range node = placement.ranks_on_node_of(me);
  return static_cast<double>(std::min(stage.end, node.end) - std::max(stage.begin, node.begin));
}

/// One rank of each other node of the stage.
Peers other_nodes(const RankPlacement& placement, Range stage) {
  const std::int64_t first = stage.begin / placement.ranks_per_node, last = (stage.end - 1) / placement.ranks_per_node;
  Peers peers{};
  peers[LinkClass::kNetwork] = static_cast<double>(last - first);
  return peers;
}

}  // namespace

double total(const Peers& peers) {
  double sum = 0;
  for (const double count : peers) sum += count;
  return sum;
}

Peers peers_in(const RankPlacement& placement, WorldRank me, Range ranks) {
  const auto common = [&](std::int64_t begin, std::int64_t size) {
    return static_cast<double>(
        std::max<std::int64_t>(0, std::min(ranks.end, begin + size) - std::max(ranks.begin, begin)));
  };
  const Range node = placement.ranks_on_node_of(me);
  const std::int64_t numa = node.begin + std::int64_t{placement.numa_on_node(me)} * placement.ranks_per_numa;
  const double in_numa = common(numa, std::min<std::int64_t>(placement.ranks_per_numa, node.end - numa));
  const double in_node = common(node.begin, node.size());
  const double self = ranks.contains(me.value()) ? 1 : 0;
  return {0, in_numa - self, in_node - in_numa, static_cast<double>(ranks.size()) - in_node};
}

Transfer& Transfer::operator+=(const Transfer& other) {
  us += other.us;
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] += other.bytes[i];
  return *this;
}

Transfer exchange(const Machine& machine, const Peers& peers, const LinkBytes& send_bytes,
                  const LinkBytes& receive_bytes) {
  Transfer result;
  double latency_us = 0;
  for (std::size_t i = 0; i < kNumLinkClasses; ++i) {
    if (peers[i] == 0) continue;
    const LinkCost& link = machine.links[i];
    // The first message's own cost is part of the latency.
    latency_us = std::max(latency_us, link.latency_us - link.message_us);
    result.us += peers[i] * (link.message_us + std::max(send_bytes[i], receive_bytes[i]) / (link.shared_gbps * 1e3));
    result.bytes[i] = peers[i] * send_bytes[i];
  }
  result.us += latency_us;
  return result;
}

Transfer exchange(const Machine& machine, const Peers& peers, double send_bytes, double receive_bytes) {
  LinkBytes sent, received;
  sent.fill(send_bytes);
  received.fill(receive_bytes);
  return exchange(machine, peers, sent, received);
}

BatchShape batch_shape(const Layout& layout, std::int64_t rows, std::int64_t sequences) {
  const double groups = static_cast<double>(std::min<std::int64_t>(layout.dp, sequences));
  const double group_rows = ceil_div(static_cast<double>(rows), groups);
  return {static_cast<double>(rows), group_rows, ceil_div(group_rows, layout.tp)};
}

double norms_us(const ModelConfig& config, double rows, const ComputeCosts& compute) {
  const double width = static_cast<double>(config.emb_size), experts = static_cast<double>(config.num_experts);
  const auto norms = static_cast<double>(std::ranges::count_if(kTensorRows, [&](const TensorRow& row) {
    return row.is_norm() && row.per == PerUnit::kLayer && row.present(config.arch);
  }));
  return rows * width *
         (norms * compute.norm_ps + (kRoundings + kResiduals) * compute.value_ps + experts * compute.router_ps) * 1e-6;
}

/// One layer, as one rank sees it.
struct ExchangeCosts::Moe {
  Moe(const ExchangeCosts& all, WorldRank rank, DispatchAlgorithm algorithm, const BatchShape& rows_of)
      : costs(all),
        routing(all.routing(all.grid_.stage(rank), algorithm)),
        grid(all.grid_),
        machine(all.machine_),
        placement(all.ranks_),
        batch(rows_of),
        me(rank),
        stage(grid.ranks_of(grid.stage(rank))),
        width(static_cast<double>(grid.config().emb_size)),
        active(static_cast<double>(grid.config().num_selected_experts)),
        row_bytes(static_cast<double>(all.numeric_.row(grid.config().emb_size).row_bytes())),
        expert_row_bytes(static_cast<double>(all.numeric_.expert_row(grid.config().emb_size).row_bytes()) +
                         active * sizeof(std::int32_t)),
        act_bytes(static_cast<double>(activation_row(all.numeric_.numerics, grid.config().emb_size).row_bytes())),
        partial_bytes(width * static_cast<double>(sizeof(float))),
        term_bytes(grid.layout().etp == 1 ? act_bytes : partial_bytes) {}

  double ranks() const { return static_cast<double>(stage.size()); }
  double copy_us(double bytes) const { return bytes / (machine.link(LinkClass::kSelf).stream_gbps * 1e3); }
  double values_us(double values) const { return values * costs.compute_.value_ps * 1e-6; }
  /// Terms of all rows that a rank computes, on average.
  double rank_terms(double rows) const { return rows * active / grid.layout().ep; }
  /// Gates and the tree over a row's experts, and the slices' trees.
  double finish_us(double rows, double fragments) const { return values_us(rows * active * width * (1 + fragments)); }

  void by_messages(bool all_rows, LayerExchanges& layer) const;
  void by_nodes(LayerExchanges& layer) const;
  void by_all(LayerExchanges& layer) const;
  Transfer attention(bool replicated) const;

  const ExchangeCosts& costs;
  const ExpectedRouting& routing;
  const Grid& grid;
  const Machine& machine;
  const RankPlacement& placement;
  const BatchShape& batch;
  WorldRank me;
  Range stage;
  double width, active;
  double row_bytes, expert_row_bytes;  // to attention shards; to experts, with the ids of their experts
  double act_bytes, partial_bytes, term_bytes;
};

void ExchangeCosts::Moe::by_messages(bool all_rows, LayerExchanges& layer) const {
  const double own = batch.own_rows, of_each = batch.rows / ranks();
  const Peers peers = peers_in(placement, me, stage);
  // Rows arrive from every owner; an owner sends to every holder. Back: the rank's terms to their owners; the pieces of
  // own rows from all holders.
  LinkBytes rows_out{}, rows_in{}, pieces_out{}, pieces_in{};
  double packed_bytes = all_rows ? own * expert_row_bytes : 0;
  for (const LinkClass link : kAllLinkClasses) {
    const ExpectedRouting::Pair& pair = link == LinkClass::kNetwork ? routing.across() : routing.beside();
    const double reached = all_rows ? 1 : pair.reaches;
    rows_out[link] = own * reached * expert_row_bytes;
    rows_in[link] = of_each * reached * expert_row_bytes;
    pieces_out[link] = of_each * pair.terms * term_bytes;
    pieces_in[link] = own * pair.terms * term_bytes;
    if (!all_rows) packed_bytes += peers[link] * rows_out[link];
  }
  layer.dispatch += exchange(machine, peers, rows_out, rows_in);
  layer.dispatch.us += copy_us(packed_bytes) + copy_us(rank_terms(batch.rows) * expert_row_bytes);
  layer.combine += exchange(machine, peers, pieces_out, pieces_in);
  layer.combine.us += copy_us(rank_terms(batch.rows) * term_bytes) + finish_us(own, grid.layout().etp);
}

void ExchangeCosts::Moe::by_nodes(LayerExchanges& layer) const {
  const int ep = grid.layout().ep, etp = grid.layout().etp;
  const double own = batch.own_rows, rows = batch.rows, num_members = members(placement, me, stage);
  const Peers nodes = other_nodes(placement, stage);
  const double num_experts = static_cast<double>(grid.config().num_experts);
  const double held = std::min(num_experts, ceil_div(num_members, etp) * num_experts / ep);
  const double slices = std::max(1.0, etp / num_members);  // of an expert that come separately
  const double piece_bytes = slices > 1 ? partial_bytes : act_bytes;
  const double reached = routing.reaches_node();
  layer.dispatch += exchange(machine, nodes, own * reached * expert_row_bytes, own * reached * expert_row_bytes);
  layer.dispatch.us +=
      copy_us(own * expert_row_bytes * (1 + reached * total(nodes)) + rank_terms(rows) * expert_row_bytes);
  const double pieces = total(nodes) > 0 ? own * active * routing.away() * slices / total(nodes) : 0;
  layer.combine += exchange(machine, nodes, pieces * piece_bytes, pieces * piece_bytes);
  // What a relay completes: its share of the node's terms, each from several members.
  const double joined = rows * active * held / num_experts / num_members * std::min<double>(etp, num_members);
  layer.combine.us += values_us(joined * width) + finish_us(own, slices);
  const LinkCost& inside = machine.link(num_members > placement.ranks_per_numa ? LinkClass::kNode : LinkClass::kNuma);
  if (num_members > 1) {  // all members meet after rows have come, and after the experts
    layer.dispatch.us += 2 * inside.latency_us;
    layer.combine.us += 2 * inside.latency_us;
  }
}

void ExchangeCosts::Moe::by_all(LayerExchanges& layer) const {
  const double sent = rank_terms(batch.rows) * term_bytes;
  layer.dispatch.us += copy_us(rank_terms(batch.rows) * expert_row_bytes);
  layer.combine += exchange(machine, peers_in(placement, me, stage), sent, sent);
  layer.combine.us += copy_us(sent) + finish_us(batch.rows, grid.layout().etp);
}

Transfer ExchangeCosts::Moe::attention(bool replicated) const {
  const auto& [pp, dp, tp, ep, etp] = grid.layout();
  Transfer sum;
  if (replicated) {
    if (dp == 1 && tp == 1) return sum;
    const double sent = batch.group_rows * partial_bytes;
    sum += exchange(machine, peers_in(placement, me, stage), sent, sent);
    sum.us += values_us(batch.rows * tp * width);
  } else if (tp > 1) {
    const std::int64_t first = me.value() / tp * tp;
    const Peers peers = peers_in(placement, me, {first, first + tp});
    sum += exchange(machine, peers, batch.own_rows * row_bytes, batch.own_rows * row_bytes);
    sum += exchange(machine, peers, batch.own_rows * partial_bytes, batch.own_rows * partial_bytes);
    sum.us += values_us(batch.own_rows * tp * width);
  }
  return sum;
}

ExchangeCosts::ExchangeCosts(const Grid& grid, const NumericSetting& numeric, const Machine& machine,
                             const ComputeCosts& compute, const RankPlacement& ranks)
    : grid_(grid), numeric_(numeric), machine_(machine), compute_(compute), ranks_(ranks) {
  for (const StageId stage : grid.stages())
    if (const int begin = place_on_node(stage); !routings_.contains(begin))
      routings_.emplace(begin, ExpectedRouting(grid, ranks.nodes(grid, stage)));
  if (!grid.placement().at_home())  // rows take turns among all holders, as if these were on one node
    no_owners_.emplace(grid, RankPlacement{grid.ranks_per_stage()}.nodes(grid, StageId(0)));
}

int ExchangeCosts::place_on_node(StageId stage) const {
  return grid_.in_world(stage, StageRank(0)).value() % ranks_.ranks_per_node;
}

const ExpectedRouting& ExchangeCosts::routing(StageId stage, DispatchAlgorithm algorithm) const {
  return traits(algorithm).ownership == Ownership::kReplicated && no_owners_ ? *no_owners_
                                                                             : routings_.at(place_on_node(stage));
}

LayerExchanges ExchangeCosts::layer(WorldRank rank, DispatchAlgorithm algorithm, const BatchShape& batch) const {
  const Moe moe(*this, rank, algorithm, batch);
  const AlgorithmTraits& how = traits(algorithm);
  const bool replicated = how.ownership == Ownership::kReplicated;
  LayerExchanges layer;
  layer.normed_rows = replicated ? batch.rows : batch.own_rows;
  layer.attention = moe.attention(replicated);
  if (how.by_nodes)
    moe.by_nodes(layer);
  else if (replicated)
    moe.by_all(layer);
  else
    moe.by_messages(how.sends_all_rows, layer);
  if (numeric_.rounds_expert_rows())  // own rows, and back what each term gets
    layer.dispatch.us += moe.values_us((layer.normed_rows + moe.rank_terms(batch.rows)) * moe.width);
  if (how.sizes_first) {
    const Transfer sizes =
        exchange(machine_, peers_in(ranks_, moe.me, moe.stage), sizeof(std::int32_t), sizeof(std::int32_t));
    layer.dispatch += sizes;
    layer.combine += sizes;
  }
  return layer;
}

double ExchangeCosts::overhead_us(DispatchAlgorithm algorithm, const BatchShape& batch) const {
  double slowest_us = 0;
  for (const StageRank rank : grid_.ranks()) {
    const LayerExchanges exchanges = layer(grid_.in_world(StageId(0), rank), algorithm, batch);
    slowest_us = std::max(slowest_us, exchanges.us() + norms_us(grid_.config(), exchanges.normed_rows, compute_));
  }
  return slowest_us;
}

DispatchAlgorithm ExchangeCosts::cheapest(const BatchShape& batch, bool shared_memory) const {
  DispatchAlgorithm best = DispatchAlgorithm::kFlat;
  double least_us = 0;
  for (const DispatchAlgorithm algorithm : kAllDispatchAlgorithms) {
    if (traits(algorithm).sizes_first) continue;
    const bool nodes = shared_memory && grid_.ranks_per_stage() > ranks_.ranks_per_node && ranks_.ranks_per_node > 1;
    if (traits(algorithm).by_nodes && !nodes) continue;
    const double us = overhead_us(algorithm, batch);
    if (algorithm != DispatchAlgorithm::kFlat && us >= least_us) continue;
    best = algorithm;
    least_us = us;
  }
  return best;
}

}  // namespace moesaic::plan
