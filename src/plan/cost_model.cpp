#include "plan/cost_model.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace moesaic::plan {
namespace {

/// Leaves of the widest part.
std::int64_t widest(std::span<const Range> cut) { return std::ranges::max(cut, {}, &Range::size).size(); }

/// A fixed sequence of pseudo-random words (splitmix64): predictions must be the same everywhere.
std::uint64_t next_word(std::uint64_t& state) {
  std::uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/// Moves `num` different experts, each as likely, to the front.
std::span<const std::int32_t> draw(std::uint64_t& state, std::int64_t num, std::span<std::int32_t> experts) {
  for (std::size_t a = 0; a < static_cast<std::size_t>(num); ++a)
    std::swap(experts[a], experts[a + static_cast<std::size_t>(next_word(state)) % (experts.size() - a)]);
  return experts.first(static_cast<std::size_t>(num));
}

double total(const PartTimes& times) { return std::accumulate(times.begin(), times.end(), 0.0); }

constexpr double kMs = 1e-3;     // of a microsecond
constexpr double kPs_us = 1e-6;  // of a picosecond

}  // namespace

std::string_view name(Part part) {
  constexpr std::string_view kNames[] = {"embed",   "norm",      "attention", "attn_exch", "dispatch", "experts",
                                         "combine", "hand_over", "head",      "idle",      "step"};
  return kNames[static_cast<std::size_t>(part)];
}

double expert_us(const Grid& grid, std::int64_t terms, Numerics numerics, const ComputeCosts& compute) {
  if (terms == 0) return 0;
  const KernelCosts& kernels = compute.of(numerics);
  const ModelConfig& config = grid.config();
  const double rows = static_cast<double>(terms), width = static_cast<double>(config.emb_size);
  const auto elems = [&](TensorRole role) {
    return static_cast<double>(share_of(config, tensor_row(role), widest(grid.expert_leaves())).num_elems());
  };
  return ((elems(TensorRole::kMoeGate) + elems(TensorRole::kMoeUp)) * kernels.gated_ps.at(rows) +
          elems(TensorRole::kMoeDown) * kernels.matrix_ps.at(rows) + rows * width * compute.value_ps) *
             kPs_us +
         3 * compute.call_us;
}

/// Terms of each expert in samples of uniform routing, or of neighbouring rows that were recorded.
const CostModel::Counts& CostModel::routing(ModelLayer layer, std::int64_t rows) {
  Counts& counts = routings_[{layer, rows}];
  if (!counts.empty()) return counts;
  const std::int64_t num_experts = config_.num_experts, active = config_.num_selected_experts;
  const std::int64_t samples = std::clamp<std::int64_t>(65536 / (rows * active), 4, 256);
  std::uint64_t state = static_cast<std::uint64_t>(rows);
  std::vector<std::int32_t> order(static_cast<std::size_t>(num_experts));
  std::iota(order.begin(), order.end(), 0);
  for (std::int64_t sample = 0; sample < samples; ++sample) {
    auto& count = counts.emplace_back(num_experts);
    const std::uint64_t first = recorded_.empty() ? 0 : next_word(state) >> 1;
    for (std::int64_t row = 0; row < rows; ++row)
      for (const std::int32_t e : recorded_.empty() ? draw(state, active, order)
                                                    : recorded_.row(layer, first + static_cast<std::uint64_t>(row)))
        ++count[ExpertId(e)];
  }
  return counts;
}

/// The mean over samples, and over layers that hold or choose other experts, of the busiest subset's time: all wait for
/// it.
double CostModel::experts_us(const ExchangeCosts& costs, StageId stage, DispatchAlgorithm dispatch, std::int64_t rows) {
  const Grid& grid = costs.grid();
  const Placement& placement = grid.placement();
  const ExpectedRouting& turns = costs.routing(stage, dispatch);
  IdRange<ModelLayer> layers = grid.layers(stage);
  if (placement.num_layers() == 1 && recorded_.empty()) layers = ids<ModelLayer>(1);  // they are alike
  std::vector<double> known_us(static_cast<std::size_t>(rows + 1), -1);
  const auto known = [&](std::int64_t terms) {
    double& us = known_us[static_cast<std::size_t>(terms)];
    if (us < 0) us = expert_us(grid, terms, arithmetic_.numerics, costs.compute());
    return us;
  };
  double sum_us = 0;
  std::int64_t num_samples = 0;
  IdVector<SubsetId, double> subset_us;
  for (const ModelLayer layer : layers)
    for (const auto& counts : routing(recorded_.empty() ? ModelLayer(0) : layer, rows)) {
      subset_us.assign(placement.num_subsets(), 0);
      for (const ExpertId expert : counts.ids()) {
        // An expert's rows in whole numbers over its copies.
        const std::int64_t count = counts[expert];
        double shares = 0;
        std::int64_t given = 0;
        for (const SlotId slot : placement.slots_of(layer, expert)) {
          shares += turns.share(layer, slot);
          const std::int64_t terms = std::llround(shares * static_cast<double>(count)) - given;
          subset_us[placement.subset_of_slot(slot)] += known(terms);
          given += terms;
        }
      }
      sum_us += std::ranges::max(subset_us);
      ++num_samples;
    }
  return sum_us / static_cast<double>(num_samples);
}

double CostModel::attention_us(const Grid& grid, const Batch& batch, const BatchShape& shape,
                               const ComputeCosts& compute) const {
  const KernelCosts& kernels = compute.of(arithmetic_.numerics);
  const std::int64_t leaves = widest(grid.attention_leaves());
  const double share = static_cast<double>(leaves) / static_cast<double>(kNumLeaves);
  const double q_width = static_cast<double>(config_.attn_size()) * share;
  const double kv_width = static_cast<double>(config_.kv_size()) * share;
  const double weights_us = static_cast<double>(matrix_elems(config_, PerUnit::kLayer, leaves)) *
                            kernels.matrix_ps.at(shape.group_rows) * kPs_us;
  const double calls = shape.group_rows / batch.rows_a_sequence;
  const double scores_us = calls * kernels.attention_ps.at(batch.rows_a_sequence) * batch.mean_keys * q_width * kPs_us;
  constexpr double kPasses = 3;  // rotation, rounding, writing pages
  const double values_us = kPasses * shape.group_rows * (q_width + 2 * kv_width) * compute.value_ps * kPs_us;
  constexpr double kCalls = 6;
  return weights_us + scores_us + values_us + kCalls * compute.call_us;
}

double CostModel::head_us(const ExchangeCosts& costs, double logit_rows) const {
  if (logit_rows <= 0) return 0;
  const Grid& grid = costs.grid();
  const ComputeCosts& compute = costs.compute();
  const bool f32 = arithmetic_.numerics == Numerics::kF32;
  const KernelCosts& kernels = compute.of(f32 ? Numerics::kF32 : Numerics::kW16A16);
  const double width = static_cast<double>(config_.emb_size), vocabulary = static_cast<double>(config_.vocab_size);
  const int ranks = grid.ranks_per_stage();
  const double share = std::ceil(1.0 / ranks * vocabulary / kVocabularyPiece_rows) * kVocabularyPiece_rows;
  double us = width * share * kernels.matrix_ps.at(logit_rows) * kPs_us + 2 * compute.call_us;
  const Range stage = grid.ranks_of(grid.last_stage());
  const Peers others = peers_in(costs.ranks(), WorldRank(stage.begin), stage);
  const double row_bytes = static_cast<double>(activation_row(arithmetic_.numerics, config_.emb_size).row_bytes());
  us += exchange(machine_, others, logit_rows * row_bytes / ranks, logit_rows * row_bytes / ranks).us;
  // All parts come to rank 0, which puts them together.
  const double part_bytes = logit_rows * share * static_cast<double>(sizeof(float));
  const Peers senders = peers_in(costs.ranks(), WorldRank(0), stage);
  us += exchange(machine_, senders, 0, part_bytes).us;
  us += logit_rows * vocabulary * static_cast<double>(sizeof(float)) /
        (machine_.link(LinkClass::kSelf).stream_gbps * 1e3);
  return us;
}

PartTimes CostModel::batch_times(const ExchangeCosts& costs, StageId stage, const Batch& batch,
                                 DispatchAlgorithm dispatch) {
  const Grid& grid = costs.grid();
  const ComputeCosts& compute = costs.compute();
  const BatchShape shape = batch_shape(grid.layout(), batch.rows, batch.sequences);
  const double layers = static_cast<double>(grid.layers(stage).size());
  LayerExchanges slowest;
  for (const StageRank rank : grid.ranks()) {
    const LayerExchanges layer = costs.layer(grid.in_world(stage, rank), dispatch, shape);
    if (rank == StageRank(0) || layer.us() > slowest.us()) slowest = layer;
  }
  PartTimes times{};
  times[Part::kNorm] = layers * kMs * (norms_us(config_, slowest.normed_rows, compute) + 9 * compute.call_us);
  times[Part::kAttention] = layers * kMs * attention_us(grid, batch, shape, compute);
  times[Part::kAttentionExchange] = layers * kMs * slowest.attention.us;
  times[Part::kDispatch] = layers * kMs * slowest.dispatch.us;
  times[Part::kExperts] = layers * kMs * experts_us(costs, stage, dispatch, batch.rows);
  times[Part::kCombine] = layers * kMs * slowest.combine.us;
  const double width = static_cast<double>(config_.emb_size);
  const double x_rows = slowest.normed_rows;
  if (stage == StageId(0)) {
    const double row_bytes = static_cast<double>(activation_row(arithmetic_.numerics, config_.emb_size).row_bytes());
    const double each = x_rows * row_bytes / grid.ranks_per_stage();
    constexpr double kColumnPasses = 8;  // a column of the packed table is far from contiguous
    times[Part::kEmbed] =
        kMs * (exchange(machine_, peers_in(costs.ranks(), WorldRank(0), grid.ranks_of(stage)), each, each).us +
               kColumnPasses * x_rows * width * compute.value_ps * kPs_us);
  }
  if (stage < grid.last_stage()) {
    const WorldRank from = grid.in_world(stage, StageRank(0)), to = grid.in_world(stage.next(), StageRank(0));
    Peers neighbour{};
    neighbour[costs.ranks().between(from, to)] = 1;
    const double bytes = x_rows * width * static_cast<double>(sizeof(float));
    times[Part::kHandOver] = kMs * (exchange(machine_, neighbour, bytes, 0).us +
                                    bytes / (machine_.link(LinkClass::kSelf).stream_gbps * 1e3));
  } else {
    times[Part::kHead] = kMs * head_us(costs, batch.logit_rows);
  }
  return times;
}

Prediction CostModel::predict(const Grid& grid, const Job& job, const RankPlacement& ranks) {
  const Layout& layout = grid.layout();
  const ComputeCosts& compute = machine_.with_threads(job.num_threads);
  const ExchangeCosts costs(grid, arithmetic_.numeric(), machine_, compute, ranks);
  const bool decode = job.phase == Phase::kDecode;
  // As the scheduler cuts: small work is spread over the stages, large work by the limit.
  const std::int64_t tokens = job.num_tokens();
  const std::int64_t spread = (tokens + layout.pp - 1) / layout.pp;
  const std::int64_t rows = decode ? spread : std::min(spread, job.chunk_rows);
  const std::int64_t num_batches = (tokens + rows - 1) / rows;
  const std::int64_t in_flight = std::min<std::int64_t>(num_batches, layout.pp == 1 ? 1 : 2 * layout.pp);
  const double num_steps = std::ceil(static_cast<double>(num_batches) / static_cast<double>(in_flight));
  Batch batch{rows, 1, 0, 1, 0};
  if (decode) {
    batch.sequences = rows;
    batch.mean_keys = static_cast<double>(job.context);
    batch.logit_rows = static_cast<double>(rows);
  } else {
    batch.sequences = std::clamp<std::int64_t>(rows / job.context, 1, job.sequences);
    batch.rows_a_sequence = std::min<double>(static_cast<double>(rows), static_cast<double>(job.context));
    batch.mean_keys = static_cast<double>(job.context + 1) / 2;
    batch.logit_rows = static_cast<double>(job.sequences) / static_cast<double>(num_batches);
  }
  Prediction p;
  const BatchShape shape = batch_shape(layout, batch.rows, batch.sequences);
  p.dispatch = job.dispatch ? *job.dispatch : costs.cheapest(shape);
  double longest_ms = 0, all_stages_ms = 0;
  PartTimes once{};
  for (const StageId stage : grid.stages()) {
    const PartTimes times = batch_times(costs, stage, batch, p.dispatch);
    for (std::size_t i = 0; i < kNumParts; ++i) once[i] += times[i];
    all_stages_ms += total(times);
    longest_ms = std::max(longest_ms, total(times));
  }
  // A step: its first batch passes all stages, the others follow at the pace of the slowest.
  const double batches_a_step = static_cast<double>(num_batches) / num_steps;
  const double step_ms = all_stages_ms + (batches_a_step - 1) * longest_ms;
  const double busy = batches_a_step / layout.pp;  // a rank works for all batches, on its stage
  for (std::size_t i = 0; i < kNumParts; ++i) p.ms[i] = num_steps * busy * once[i];
  const double network_us = machine_.link(ranks.between(WorldRank(0), WorldRank(layout.ranks() - 1))).latency_us;
  const double engine_us = compute.step_us + 2 * std::ceil(std::log2(layout.ranks())) * network_us;
  p.ms[Part::kIdle] = num_steps * (step_ms - busy * all_stages_ms);
  p.ms[Part::kStep] = num_steps * kMs * engine_us;
  p.total_ms = total(p.ms);
  p.ms_per_token = p.total_ms / static_cast<double>(tokens);

  const BatchShape mean{shape.rows, shape.rows / layout.dp, shape.rows / grid.ranks_per_stage()};
  for (const WorldRank rank : ids<WorldRank>(layout.ranks())) {
    const LayerExchanges layer = costs.layer(rank, p.dispatch, mean);
    Transfer sum = layer.attention;
    sum += layer.dispatch;
    sum += layer.combine;
    const double layers = static_cast<double>(grid.layers(grid.stage(rank)).size());
    for (std::size_t i = 0; i < kNumLinkClasses; ++i) p.bytes_per_token[i] += layers * sum.bytes[i] / shape.rows;
  }
  const Workload workload{job.sequences, job.context, decode ? rows : job.chunk_rows};
  for (const WorldRank rank : ids<WorldRank>(layout.ranks()))
    if (const Footprint f = footprint(grid, rank, arithmetic_, workload); f.total_bytes() > p.memory.total_bytes())
      p.memory = f;
  return p;
}

std::vector<RankedLayout> rank_layouts(CostModel& model, std::span<const Grid> grids, const Job& job,
                                       const RankPlacement& ranks) {
  std::vector<RankedLayout> all;
  for (const Grid& grid : grids) all.push_back({grid.layout(), model.predict(grid, job, ranks)});
  std::stable_sort(all.begin(), all.end(), [](const RankedLayout& a, const RankedLayout& b) {
    return a.prediction.ms_per_token < b.prediction.ms_per_token;
  });
  return all;
}

}  // namespace moesaic::plan
