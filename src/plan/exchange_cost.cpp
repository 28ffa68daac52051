#include "plan/exchange_cost.hpp"

#include <algorithm>
#include <cmath>

#include "config/numeric_setting.hpp"

namespace moesaic::plan {
namespace {

constexpr double kNorms = 4, kRoundings = 2, kResiduals = 2;  // of a layer

double ceil_div(double a, double b) { return std::ceil(a / b); }

/// Others of `domain` that share memory with the rank, itself too.
double members(const RankPlacement& placement, int me, Range stage) {
  const Range node = placement.node_of(me);
  return static_cast<double>(std::min(stage.end, node.end) - std::max(stage.begin, node.begin));
}

/// One rank of each other node of the stage.
Peers other_nodes(const RankPlacement& placement, Range stage) {
  const std::int64_t first = stage.begin / placement.ranks_per_node, last = (stage.end - 1) / placement.ranks_per_node;
  Peers peers{};
  peers[static_cast<std::size_t>(LinkClass::kNetwork)] = static_cast<double>(last - first);
  return peers;
}

/// What the algorithms share.
struct Moe {
  const Grid& grid;
  const Machine& machine;
  const ComputeCosts& compute;
  const RankPlacement& placement;
  const BatchShape& batch;
  int me;
  Range stage;
  double width, active;
  double row_bytes, expert_row_bytes;  // to attention shards; to experts, with the ids of their experts
  double term_bytes, act_bytes, partial_bytes;

  double ranks() const { return static_cast<double>(stage.size()); }
  double copy_us(double bytes) const { return bytes / (machine.link(LinkClass::kSelf).stream_gbps * 1e3); }
  double values_us(double values) const { return values * compute.value_ps * 1e-6; }
  double reached(double experts) const {
    const auto held = static_cast<std::int64_t>(std::llround(experts));
    return 1 - none_chosen(grid.config().num_experts, held, grid.config().num_selected_experts);
  }
  /// Terms of all rows that a rank computes, on average.
  double rank_terms(double rows) const { return rows * active / grid.layout().ep; }
  /// Gates and the tree over a row's experts, and the slices' trees.
  double finish_us(double rows, double fragments) const { return values_us(rows * active * width * (1 + fragments)); }
};

void by_messages(const Moe& moe, bool all_rows, LayerExchanges& layer) {
  const auto& [pp, dp, tp, ep, etp] = moe.grid.layout();
  const double own = moe.batch.own_rows, rows = moe.batch.rows;
  const Peers peers = peers_in(moe.placement, moe.me, moe.stage);
  const double reached = all_rows ? 1 : moe.reached(static_cast<double>(moe.grid.config().num_experts) / ep);
  // Rows arrive from every owner; an owner sends to every holder.
  const double received = rows / moe.ranks() * reached * moe.expert_row_bytes;
  layer.dispatch += exchange(moe.machine, peers, own * reached * moe.expert_row_bytes, received);
  layer.dispatch.us += moe.copy_us(own * reached * moe.expert_row_bytes * (all_rows ? 1 : total(peers)));
  layer.dispatch.us += moe.copy_us(moe.rank_terms(rows) * moe.expert_row_bytes);
  // Back: the rank's terms to their owners; the pieces of own rows from all holders.
  const double sent = moe.rank_terms(rows / moe.ranks()) * moe.term_bytes;
  layer.combine += exchange(moe.machine, peers, sent, own * moe.active / ep * moe.term_bytes);
  layer.combine.us += moe.copy_us(moe.rank_terms(rows) * moe.term_bytes) + moe.finish_us(own, etp);
}

void by_nodes(const Moe& moe, LayerExchanges& layer) {
  const int ep = moe.grid.layout().ep, etp = moe.grid.layout().etp;
  const double own = moe.batch.own_rows, rows = moe.batch.rows, num_members = members(moe.placement, moe.me, moe.stage);
  const Peers nodes = other_nodes(moe.placement, moe.stage);
  const double num_experts = static_cast<double>(moe.grid.config().num_experts);
  const double held = std::min(num_experts, ceil_div(num_members, etp) * num_experts / ep);
  const double slices = std::max(1.0, etp / num_members);  // of an expert that come separately
  const double piece_bytes = slices > 1 ? moe.partial_bytes : moe.act_bytes;
  const double away = total(nodes) / (total(nodes) + 1);
  const double reached = moe.reached(held);
  layer.dispatch +=
      exchange(moe.machine, nodes, own * reached * moe.expert_row_bytes, own * reached * moe.expert_row_bytes);
  layer.dispatch.us += moe.copy_us(own * moe.expert_row_bytes * (1 + reached * total(nodes)) +
                                   moe.rank_terms(rows) * moe.expert_row_bytes);
  const double pieces = total(nodes) > 0 ? own * moe.active * away * slices / total(nodes) : 0;
  layer.combine += exchange(moe.machine, nodes, pieces * piece_bytes, pieces * piece_bytes);
  // What a relay completes: its share of the node's terms, each from several members.
  const double joined = rows * moe.active * held / num_experts / num_members * std::min<double>(etp, num_members);
  layer.combine.us += moe.values_us(joined * moe.width) + moe.finish_us(own, slices);
  const LinkCost& inside =
      moe.machine.link(num_members > moe.placement.ranks_per_numa ? LinkClass::kNode : LinkClass::kNuma);
  if (num_members > 1) {  // all members meet after rows have come, and after the experts
    layer.dispatch.us += 2 * inside.latency_us;
    layer.combine.us += 2 * inside.latency_us;
  }
}

void by_all(const Moe& moe, LayerExchanges& layer) {
  const double sent = moe.rank_terms(moe.batch.rows) * moe.term_bytes;
  layer.dispatch.us += moe.copy_us(moe.rank_terms(moe.batch.rows) * moe.expert_row_bytes);
  layer.combine += exchange(moe.machine, peers_in(moe.placement, moe.me, moe.stage), sent, sent);
  layer.combine.us += moe.copy_us(sent) + moe.finish_us(moe.batch.rows, moe.grid.layout().etp);
}

Transfer attention_exchanges(const Moe& moe, bool replicated) {
  const auto& [pp, dp, tp, ep, etp] = moe.grid.layout();
  Transfer sum;
  if (replicated) {
    if (dp == 1 && tp == 1) return sum;
    const double sent = moe.batch.group_rows * moe.partial_bytes;
    sum += exchange(moe.machine, peers_in(moe.placement, moe.me, moe.stage), sent, sent);
    sum.us += moe.values_us(moe.batch.rows * tp * moe.width);
  } else if (tp > 1) {
    const std::int64_t first = moe.me / tp * tp;
    const Peers peers = peers_in(moe.placement, moe.me, {first, first + tp});
    sum += exchange(moe.machine, peers, moe.batch.own_rows * moe.row_bytes, moe.batch.own_rows * moe.row_bytes);
    sum += exchange(moe.machine, peers, moe.batch.own_rows * moe.partial_bytes, moe.batch.own_rows * moe.partial_bytes);
    sum.us += moe.values_us(moe.batch.own_rows * tp * moe.width);
  }
  return sum;
}

}  // namespace

double total(const Peers& peers) {
  double sum = 0;
  for (const double count : peers) sum += count;
  return sum;
}

Peers peers_in(const RankPlacement& placement, int me, Range ranks) {
  const auto common = [&](std::int64_t begin, std::int64_t size) {
    return static_cast<double>(
        std::max<std::int64_t>(0, std::min(ranks.end, begin + size) - std::max(ranks.begin, begin)));
  };
  const Range node = placement.node_of(me);
  const std::int64_t numa = node.begin + (me - node.begin) / placement.ranks_per_numa * placement.ranks_per_numa;
  const double in_numa = common(numa, std::min<std::int64_t>(placement.ranks_per_numa, node.end - numa));
  const double in_node = common(node.begin, node.size());
  const double self = ranks.contains(me) ? 1 : 0;
  return {0, in_numa - self, in_node - in_numa, static_cast<double>(ranks.size()) - in_node};
}

Transfer& Transfer::operator+=(const Transfer& other) {
  us += other.us;
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] += other.bytes[i];
  return *this;
}

Transfer exchange(const Machine& machine, const Peers& peers, double send_bytes, double receive_bytes) {
  Transfer result;
  double latency_us = 0;
  for (std::size_t i = 0; i < kNumLinkClasses; ++i) {
    if (peers[i] == 0) continue;
    const LinkCost& link = machine.links[i];
    // The first message's own cost is part of the latency.
    latency_us = std::max(latency_us, link.latency_us - link.message_us);
    result.us += peers[i] * (link.message_us + std::max(send_bytes, receive_bytes) / (link.shared_gbps * 1e3));
    result.bytes[i] = peers[i] * send_bytes;
  }
  result.us += latency_us;
  return result;
}

double none_chosen(std::int64_t n, std::int64_t k, std::int64_t active) {
  double probability = 1;
  for (std::int64_t i = 0; i < active; ++i)
    probability *= std::max<double>(0, static_cast<double>(n - k - i)) / static_cast<double>(n - i);
  return probability;
}

BatchShape batch_shape(const Layout& layout, std::int64_t rows, std::int64_t sequences) {
  const double groups = static_cast<double>(std::min<std::int64_t>(layout.dp, sequences));
  const double group_rows = ceil_div(static_cast<double>(rows), groups);
  return {static_cast<double>(rows), group_rows, ceil_div(group_rows, layout.tp)};
}

LayerExchanges layer_exchanges(const Grid& grid, WorldRank rank, DispatchAlgorithm algorithm, const BatchShape& batch,
                               const NumericSetting& numeric, const Machine& machine, const ComputeCosts& compute,
                               const RankPlacement& placement) {
  const ModelConfig& c = grid.config();
  const int stage = grid.stage(rank), ranks = grid.ranks_per_stage();
  const double width = static_cast<double>(c.emb_size);
  const double act_bytes = width * static_cast<double>(size_bytes(activation_type(numeric.numerics)));
  const double partial_bytes = width * static_cast<double>(sizeof(float));
  const Moe moe{grid,
                machine,
                compute,
                placement,
                batch,
                index(rank),
                {stage * ranks, (stage + 1) * ranks},
                width,
                static_cast<double>(c.num_selected_experts),
                static_cast<double>(numeric.row(c.emb_size).row_bytes()),
                static_cast<double>(numeric.expert_row(c.emb_size).row_bytes()) +
                    static_cast<double>(c.num_selected_experts) * sizeof(std::int32_t),
                grid.layout().etp == 1 ? act_bytes : partial_bytes,
                act_bytes,
                partial_bytes};
  const bool dense = algorithm == DispatchAlgorithm::kDense;
  LayerExchanges layer;
  layer.normed_rows = dense ? batch.rows : batch.own_rows;
  layer.attention = attention_exchanges(moe, dense);
  if (algorithm == DispatchAlgorithm::kHier)
    by_nodes(moe, layer);
  else if (dense)
    by_all(moe, layer);
  else
    by_messages(moe, algorithm == DispatchAlgorithm::kAgrs, layer);
  if (numeric.rounds_expert_rows())  // own rows, and back what each term gets
    layer.dispatch.us += moe.values_us((layer.normed_rows + moe.rank_terms(batch.rows)) * width);
  if (algorithm == DispatchAlgorithm::kAlltoallv) {  // sizes first
    const Transfer sizes =
        exchange(machine, peers_in(placement, moe.me, moe.stage), sizeof(std::int32_t), sizeof(std::int32_t));
    layer.dispatch += sizes;
    layer.combine += sizes;
  }
  return layer;
}

double norms_us(const ModelConfig& config, double rows, const ComputeCosts& compute) {
  const double width = static_cast<double>(config.emb_size), experts = static_cast<double>(config.num_experts);
  return rows * width *
         (kNorms * compute.norm_ps + (kRoundings + kResiduals) * compute.value_ps + experts * compute.router_ps) * 1e-6;
}

double layer_overhead_us(const Grid& grid, DispatchAlgorithm algorithm, const BatchShape& batch,
                         const NumericSetting& numeric, const Machine& machine, const ComputeCosts& compute,
                         const RankPlacement& placement) {
  double slowest_us = 0;
  for (int rank = 0; rank < grid.ranks_per_stage(); ++rank) {
    const LayerExchanges layer =
        layer_exchanges(grid, WorldRank{rank}, algorithm, batch, numeric, machine, compute, placement);
    slowest_us = std::max(slowest_us, layer.us() + norms_us(grid.config(), layer.normed_rows, compute));
  }
  return slowest_us;
}

DispatchAlgorithm cheapest_dispatch(const Grid& grid, const BatchShape& batch, const NumericSetting& numeric,
                                    const Machine& machine, const ComputeCosts& compute, const RankPlacement& placement,
                                    bool shared_memory) {
  DispatchAlgorithm best = DispatchAlgorithm::kFlat;
  double least_us = 0;
  for (const DispatchAlgorithm algorithm : kAllDispatchAlgorithms) {
    if (algorithm == DispatchAlgorithm::kAlltoallv) continue;
    const bool nodes =
        shared_memory && grid.ranks_per_stage() > placement.ranks_per_node && placement.ranks_per_node > 1;
    if (algorithm == DispatchAlgorithm::kHier && !nodes) continue;
    const double us = layer_overhead_us(grid, algorithm, batch, numeric, machine, compute, placement);
    if (algorithm != DispatchAlgorithm::kFlat && us >= least_us) continue;
    best = algorithm;
    least_us = us;
  }
  return best;
}

}  // namespace moesaic::plan
