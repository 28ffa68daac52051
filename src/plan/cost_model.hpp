#pragma once

#include <map>
#include <optional>

#include "plan/exchange_cost.hpp"
#include "plan/footprint.hpp"

/// Predicts what a layout would cost on a machine (docs/cost-model.md): pure arithmetic, expected values under uniform
/// or recorded routing, no overlap of exchanges with computing but between stages.
namespace moesaic::plan {

enum class Phase : std::uint8_t { kDecode, kPrefill };

/// What is to be run: `sequences` together, each at `context` tokens. Decode: one more token of each; prefill: all of
/// them, in chunks.
struct Job {
  Phase phase = Phase::kDecode;
  std::int64_t sequences = 1;
  std::int64_t context = 512;
  std::int64_t chunk_rows = 512;              ///< the most rows of a micro-batch of prompts
  int num_threads = 0;                        ///< of a rank; 0: those of the machine's first entry
  std::optional<DispatchAlgorithm> dispatch;  ///< nothing: the cheapest

  std::int64_t num_tokens() const { return phase == Phase::kDecode ? sequences : sequences * context; }
};

/// The stages of the forward pass that a prediction is made of.
enum class Part : std::uint8_t {
  kEmbed,
  kNorm,  ///< with residual and router
  kAttention,
  kAttentionExchange,
  kDispatch,
  kExperts,
  kCombine,
  kHandOver,
  kHead,
  kIdle,  ///< a rank waits for the pipeline to fill
  kStep,  ///< the engine's own work and its broadcasts
};
inline constexpr std::size_t kNumParts = 11;
std::string_view name(Part part);

using PartTimes = EnumArray<Part, double, kNumParts>;

struct Prediction {
  PartTimes ms{};       ///< of the whole job
  double total_ms = 0;  ///< one step of decoding, or all prompts
  double ms_per_token = 0;
  DispatchAlgorithm dispatch = DispatchAlgorithm::kFlat;
  EnumArray<LinkClass, double, kNumLinkClasses> bytes_per_token{};  ///< over all links of a class
  Footprint memory;                                                 ///< of the rank that needs most

  double part_ms(Part part) const { return ms[part]; }
};

/// What an expert's `terms` rows take a rank that holds its widest slice, microseconds.
double expert_us(const Grid& grid, std::int64_t terms, Numerics numerics, const ComputeCosts& compute);

/// Which experts rows have chosen, layer by layer.
struct RecordedRouting {
  std::int64_t num_rows = 0, num_active = 0;  ///< no rows: nothing is recorded, all experts are as likely
  std::vector<std::int32_t> experts;          ///< (layers, rows, A)

  bool empty() const { return num_rows == 0; }
  /// Beyond the last row the first follows.
  std::span<const std::int32_t> row(ModelLayer layer, std::uint64_t number) const {
    const auto rows = static_cast<std::uint64_t>(num_rows), active = static_cast<std::uint64_t>(num_active);
    return std::span(experts).subspan((layer.index() * rows + number % rows) * active, active);
  }
};

class CostModel {
 public:
  /// recorded: for the time that experts take; what travels is counted under uniform routing.
  CostModel(const ModelConfig& config, const Arithmetic& arithmetic, const Machine& machine,
            RecordedRouting recorded = {})
      : config_(config), arithmetic_(arithmetic), machine_(machine), recorded_(std::move(recorded)) {}

  /// grid: of this model. ranks: of the job, by node.
  Prediction predict(const Grid& grid, const Job& job, const RankPlacement& ranks);

 private:
  struct Batch {
    std::int64_t rows, sequences;
    double mean_keys, rows_a_sequence, logit_rows;
  };
  using Counts = std::vector<IdVector<ExpertId, std::int32_t>>;  // of each sample

  /// Milliseconds of one micro-batch on one stage.
  PartTimes batch_times(const ExchangeCosts& costs, StageId stage, const Batch& batch, DispatchAlgorithm dispatch);
  double attention_us(const Grid& grid, const Batch& batch, const BatchShape& shape, const ComputeCosts& compute) const;
  double experts_us(const ExchangeCosts& costs, StageId stage, DispatchAlgorithm dispatch, std::int64_t rows);
  double head_us(const ExchangeCosts& costs, double logit_rows) const;
  const Counts& routing(ModelLayer layer, std::int64_t rows);

  ModelConfig config_;
  Arithmetic arithmetic_;
  Machine machine_;
  RecordedRouting recorded_;
  std::map<std::pair<ModelLayer, std::int64_t>, Counts> routings_;  // indexed by layer and number of rows
};

/// A layout with its prediction; rank_layouts() gives them with the least time per token first.
struct RankedLayout {
  Layout layout;
  Prediction prediction;
};
std::vector<RankedLayout> rank_layouts(CostModel& model, std::span<const Grid> grids, const Job& job,
                                       const RankPlacement& ranks);

}  // namespace moesaic::plan
