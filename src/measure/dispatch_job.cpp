#include "measure/dispatch_job.hpp"

#include <algorithm>
#include <cstring>

#include "base/aligned_buffer.hpp"
#include "base/hash.hpp"
#include "base/parallel.hpp"
#include "base/trace.hpp"
#include "comm/mailbox.hpp"
#include "comm/share.hpp"
#include "measure/overlap.hpp"
#include "measure/statistics.hpp"
#include "plan/slot_choice.hpp"

namespace moesaic::measure {
namespace {

constexpr std::string_view kNames[] = {"total", "transport", "dispatch",  "combine", "permute", "plan",
                                       "send",  "wait",      "unpermute", "experts", "route"};

using Times = std::array<double, kNumPhases>;  // microseconds

/// Since another time.
Times parts_since(const ZoneTimes& then) {
  const auto us = [&](Zone zone) {
    const auto i = static_cast<std::size_t>(zone);
    return (zone_times().seconds[i] - then.seconds[i]) * 1e6;
  };
  const double dispatch = us(Zone::kDispatch), combine = us(Zone::kCombine), permute = us(Zone::kPermute);
  const double send = us(Zone::kSend), wait = us(Zone::kWait), unpermute = us(Zone::kUnpermute);
  const double plan = dispatch + combine - permute - send - wait - unpermute;
  return {dispatch + combine, send + wait,        dispatch,         combine, permute, plan, send, wait,
          unpermute,          us(Zone::kExperts), us(Zone::kRouter)};
}

void add(const plan::PairTraffic& from, plan::PairTraffic& into) {
  for (std::size_t i = 0; i < into.bytes.size(); ++i) {
    into.rows[i] += from.rows[i];
    into.bytes[i] += from.bytes[i];
    into.messages[i] += from.messages[i];
  }
}

void add(const plan::DispatchTraffic& from, plan::DispatchTraffic& into) {
  add(from.dispatch, into.dispatch);
  add(from.combine, into.combine);
}

plan::DispatchTraffic nothing(int ranks) { return {plan::PairTraffic(ranks), plan::PairTraffic(ranks)}; }

Hash128 hash_floats(const float* values, std::int64_t count) {
  return hash_bytes(std::as_bytes(std::span(values, static_cast<std::size_t>(count))));
}

}  // namespace

std::string_view name(DispatchPhase phase) { return kNames[static_cast<std::size_t>(phase)]; }

std::vector<double> PhaseTimes::all(DispatchPhase phase) const {
  std::vector<double> list;
  for (const auto& rank : us[phase]) list.insert(list.end(), rank.begin(), rank.end());
  return list;
}

std::vector<double> PhaseTimes::slowest(DispatchPhase phase) const {
  const auto& ranks = us[phase];
  std::vector<double> most(ranks[0].size());
  for (const auto& rank : ranks)
    for (std::size_t i = 0; i < most.size(); ++i) most[i] = std::max(most[i], rank[i]);
  return most;
}

std::vector<double> PhaseTimes::medians(DispatchPhase phase) const {
  std::vector<double> list;
  for (const auto& rank : us[phase]) list.push_back(statistics(rank).median);
  return list;
}

/// What a rank puts into a step: its rows, and where they go.
struct DispatchJob::Own {
  Range rows;
  moe::Routing routing;
};

std::vector<std::int32_t> DispatchJob::Step::slots_of(const plan::Grid& grid, const plan::Domains& nodes,
                                                      const plan::RowMap& rows) const {
  return plan::slots_of_rows(grid, nodes, rows, layer, routing.ascending_experts);
}

DispatchJob::DispatchJob(const comm::Communicator& world, const plan::Grid& grid, const Compute& compute,
                         std::vector<int> node_of, const RoutingSource& source, std::int64_t num_steps,
                         const Variant& variant)
    : world_(world),
      grid_(grid),
      compute_(compute),
      variant_(variant),
      me_{world.rank()},
      node_of_(std::move(node_of)),
      nodes_(node_of_),
      active_(static_cast<std::size_t>(grid.config().num_selected_experts)),
      experts_(grid, compute, variant.payload),
      logical_(nothing(world.size())),
      terms_(world.size()),
      batch_(*compute_.backend) {
  const plan::DispatchSetting alone(grid_, plan::Domains::alone(world.size()),
                                    moe::piece_sizes(grid_, compute_.numerics()));
  for (std::int64_t s = 0; s < num_steps; ++s) {
    RoutedStep routed = source(s);
    Step step{with_ascending(std::move(routed.routing), active_),
              routed.layer,
              plan::RowMap(grid_, routed.num_group_rows, plan::Ownership::kShared),
              plan::RowMap(grid_, routed.num_group_rows, plan::Ownership::kReplicated),
              {},
              {}};
    for (const StandIn kind : {StandIn::kTree, StandIn::kCopy}) expect(step, kind);
    const auto slots = step.slots_of(grid_, nodes_, step.shared);
    add(logical_traffic(alone, step.shared, row_message().row_bytes, slots), logical_);
    const auto terms = terms_of_ranks(grid_, slots);
    for (const plan::StageRank rank : terms.ids()) terms_[rank] += terms[rank];
    steps_.push_back(std::move(step));
  }
}

plan::RowMessage DispatchJob::row_message() const {
  return plan::row_message(grid_.config(), {compute_.numerics(), variant_.payload});
}

std::int64_t DispatchJob::num_rows() const {
  std::int64_t sum = 0;
  for (const Step& step : steps_) sum += step.shared.num_rows();
  return sum;
}

moe::HostRouting DispatchJob::own_routing(std::size_t step) const {
  return part_of(steps_[step].routing, steps_[step].shared.rows(me_), active_);
}

/// Each rank computes its share, all get all.
void DispatchJob::expect(Step& step, StandIn kind) {
  const Range share = step.shared.rows(me_);
  std::vector<Hash128> hashes(static_cast<std::size_t>(share.size()));
  const std::int64_t width = grid_.config().emb_size;
  parallel_for(share.size(), [&](std::int64_t i) {
    std::vector<std::byte> row(experts_.row_bytes());
    std::vector<float> m(static_cast<std::size_t>(width));
    const auto first = static_cast<std::size_t>(share.begin + i) * active_;
    experts_.make_row(share.begin + i, row.data());
    experts_.expected(row.data(), std::span(step.routing.ascending_experts).subspan(first, active_),
                      std::span(step.routing.ascending_gates).subspan(first, active_), m.data(), kind);
    hashes[static_cast<std::size_t>(i)] = hash_floats(m.data(), width);
  });
  step.expected[kind] = comm::shared(world_, comm::gather_joined(world_, hashes));
}

plan::DispatchTraffic DispatchJob::traffic_of(const Step& step, plan::DispatchAlgorithm algorithm) const {
  const plan::AlgorithmTraits& traits = plan::traits(algorithm);
  const plan::DispatchSetting setting(grid_, traits.by_nodes ? nodes_ : plan::Domains::alone(world_.size()),
                                      moe::piece_sizes(grid_, compute_.numerics()));
  const plan::RowMap& rows = step.owned(traits.ownership);
  return dispatch_traffic(setting, algorithm, rows, row_message(), step.slots_of(grid_, nodes_, rows));
}

std::vector<plan::DispatchTraffic> DispatchJob::traffic(plan::DispatchAlgorithm algorithm) const {
  std::vector<plan::DispatchTraffic> steps;
  for (const Step& step : steps_) steps.push_back(traffic_of(step, algorithm));
  return steps;
}

std::unique_ptr<moe::Dispatcher> DispatchJob::make(plan::DispatchAlgorithm algorithm, DispatchPayload payload) const {
  return with_progress(variant_.progress, moe::make_dispatcher(algorithm, grid_, node_of_, world_, *compute_.backend,
                                                               *compute_.queue, payload));
}

DispatchResult DispatchJob::measure(plan::DispatchAlgorithm algorithm, const Repetitions& repetitions,
                                    const std::function<void(std::size_t step)>& after) {
  const plan::Ownership ownership = plan::traits(algorithm).ownership;
  const auto dispatcher = make(algorithm, variant_.payload);
  const std::int64_t width = grid_.config().emb_size;
  const auto map_of = [&](const Step& step) -> const plan::RowMap& { return step.owned(ownership); };

  std::vector<Own> own;
  for (const Step& step : steps_) {
    const Range rows = map_of(step).rows(me_);
    own.emplace_back(Own{rows, moe::Routing(*compute_.backend)}).routing.assign(part_of(step.routing, rows, active_));
  }
  AlignedBuffer n, m;
  Range in_n;
  const auto make_rows = [&](Range rows) {
    if (in_n == rows) return;
    n.reserve(bytes_of(rows.size(), experts_.row_bytes()) + 1);
    parallel_for(rows.size(), [&](std::int64_t row) {
      experts_.make_row(rows.begin + row, n.data() + bytes_of(row, experts_.row_bytes()));
    });
    in_n = rows;
  };
  DispatchResult result{{}, 0, 0, "", nothing(world_.size()), nothing(world_.size()), true};
  for (const plan::DispatchTraffic& step : traffic(algorithm)) add(step, result.analytic);

  std::vector<std::uint64_t> sent(static_cast<std::size_t>(world_.size()));  // of each step once
  std::vector<Hash128> found;                                                // of each step once: own share
  std::vector<Times> times;
  std::int64_t num_wrong = 0, num_checked = 0;
  const std::int64_t first_timed = num_steps() + repetitions.warmup;
  for (std::int64_t i = 0; i < first_timed + repetitions.timed; ++i) {
    position().step = i + 1;  // for reports of stalls
    const bool real = variant_.gemm && i >= num_steps();
    const StandIn kind = i < num_steps() ? StandIn::kTree : StandIn::kCopy;
    const std::size_t s = static_cast<std::size_t>(i) % steps_.size();
    Step& step = steps_[s];
    const auto& [rows, routing] = own[s];
    m.reserve(bytes_of<float>(rows.size() * width) + 1);
    make_rows(rows);
    if (i < num_steps()) std::memset(m.data(), 0xff, m.size_bytes());  // no result is there yet
    const comm::Traffic before = comm::traffic();
    const ZoneTimes then = zone_times();
    if (real) timed(Zone::kRouter, [&] { variant_.gemm->route(rows.size()); });
    world_.barrier();
    moe::pass_through(
        *dispatcher, at(n.data()), map_of(step), routing, step.layer, batch_,
        [&] { real ? variant_.gemm->run_experts(batch_) : experts_.run(me_, step.layer, batch_, kind); },
        at(m.as<float>()));
    if (i >= first_timed) times.push_back(parts_since(then));

    if (i < num_steps())
      for (std::size_t peer = 0; peer < sent.size(); ++peer) {
        const auto& now = comm::traffic().bytes;
        sent[peer] += (peer < now.size() ? now[peer] : 0) - (peer < before.bytes.size() ? before.bytes[peer] : 0);
      }
    const bool check = i < num_steps() || (repetitions.check_every > 0 && i % repetitions.check_every == 0);
    if (i >= first_timed) after(s);
    if (!check) continue;
    std::vector<Hash128> hashes(static_cast<std::size_t>(rows.size()));
    parallel_for(rows.size(), [&](std::int64_t row) {
      hashes[static_cast<std::size_t>(row)] = hash_floats(m.as<float>() + row * width, width);
    });
    num_wrong += count_wrong(step, rows, hashes, real ? std::nullopt : std::optional(kind));
    num_checked += rows.size();
    const Range share = step.shared.rows(me_);
    if (i < num_steps())
      for (std::int64_t row = share.begin; row < share.end; ++row)
        found.push_back(hashes[static_cast<std::size_t>(row - rows.begin)]);
  }

  make_rows(own[0].rows);
  const LayerInput first{*compute_.backend, n.data(),        map_of(steps_[0]),
                         own[0].routing,    steps_[0].layer, m.as<float>()};
  if (repetitions.timed > 0)
    result.overlap_percent = overlap_percent(world_, *dispatcher, first, static_cast<int>(repetitions.timed));
  if (experts_.rounds()) {
    const auto as_is = make(algorithm, DispatchPayload::kAct);
    result.payload_errors = payload_errors(world_, *dispatcher, *as_is, experts_, variant_.gemm, first);
  }
  result.num_wrong = static_cast<std::int64_t>(world_.sum(static_cast<double>(num_wrong)));
  result.num_checked = static_cast<std::int64_t>(world_.sum(static_cast<double>(num_checked)));
  result.hash = hash_of_steps(found);
  gather_counted(sent, result);
  result.times = gather_times(times);
  return result;
}

/// hashes: of own rows. kind: nothing for real experts, which have no sequential twin here: what they make of a row
/// must be what they made of it before, through whichever algorithm.
std::int64_t DispatchJob::count_wrong(Step& step, Range rows, std::span<const Hash128> hashes,
                                      std::optional<StandIn> kind) const {
  std::int64_t wrong = 0;
  if (!kind) {
    const Range share = step.shared.rows(me_);
    const auto found =
        hashes.subspan(static_cast<std::size_t>(share.begin - rows.begin), static_cast<std::size_t>(share.size()));
    if (step.gemm_rows.empty()) step.gemm_rows.assign(found.begin(), found.end());
    for (std::size_t i = 0; i < found.size(); ++i) wrong += found[i] != step.gemm_rows[i];
    return wrong;
  }
  const auto& expected = step.expected[*kind];
  for (std::size_t i = 0; i < hashes.size(); ++i)
    wrong += hashes[i] != expected[static_cast<std::size_t>(rows.begin) + i];
  return wrong;
}

/// XXH3-128 over the rows' hashes, ascending rows, step after step. found: of own rows, step after step.
std::string DispatchJob::hash_of_steps(const std::vector<Hash128>& found) const {
  const auto all = comm::gather_lists(world_, found);
  std::string hash;
  if (world_.rank() == 0) {
    Hasher hasher;
    std::vector<std::size_t> done(all.size());
    for (const Step& step : steps_)
      for (std::size_t rank = 0; rank < all.size(); ++rank) {
        const auto rows = static_cast<std::size_t>(step.shared.rows(plan::StageRank(rank)).size());
        hasher.update(std::as_bytes(std::span(all[rank]).subspan(done[rank], rows)));
        done[rank] += rows;
      }
    hash = hasher.digest().hex();
  }
  world_.broadcast(hash, 0);
  return hash;
}

void DispatchJob::gather_counted(const std::vector<std::uint64_t>& own_bytes, DispatchResult& result) const {
  std::ranges::copy(comm::gather_joined(world_, own_bytes), result.counted.dispatch.bytes.begin());
  bool right = true;
  for (const plan::StageRank peer : terms_.ids()) {
    const std::size_t pair = result.analytic.dispatch.at(me_, peer);
    right &= own_bytes[peer.index()] == result.analytic.dispatch.bytes[pair] + result.analytic.combine.bytes[pair];
  }
  result.bytes_right = world_.min(right) > 0;
}

PhaseTimes DispatchJob::gather_times(const std::vector<Times>& own) const {
  PhaseTimes times;
  for (const auto& list : comm::gather_lists(world_, own)) {
    for (std::size_t phase = 0; phase < kNumPhases; ++phase) {
      auto& into = times.us[phase].emplace_back();
      for (const Times& repetition : list) into.push_back(repetition[phase]);
    }
  }
  return times;
}

}  // namespace moesaic::measure
