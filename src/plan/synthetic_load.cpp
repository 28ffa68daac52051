#include "plan/synthetic_load.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "base/random.hpp"

namespace moesaic::plan {
namespace {

constexpr std::string_view kNames[] = {"uniform", "zipf",      "hot-expert", "hot-rank", "incast",
                                       "ragged",  "idle-rank", "rotating",   "burst"};
constexpr std::int64_t kBurstSteps = 4, kBurstFactor = 3;

/// Words of one place, in order.
class Words {
 public:
  Words(std::uint64_t seed, std::int64_t step, std::int64_t place)
      : key_(random_word(random_word(random_word(seed) ^ static_cast<std::uint64_t>(step)) ^
                         static_cast<std::uint64_t>(place))) {}
  std::uint64_t next() { return random_word(key_ ^ count_++); }
  std::int64_t below(std::int64_t n) { return static_cast<std::int64_t>(next() % static_cast<std::uint64_t>(n)); }
  double unit() { return (static_cast<double>(next() >> 11) + 0.5) * 0x1p-53; }

 private:
  std::uint64_t key_, count_ = 0;
};

constexpr std::int64_t kOfTheSeed = -1;  // instead of a step

/// Draws experts by weight, each at most once.
class Draw {
 public:
  explicit Draw(IdVector<ExpertId, double> weights) : weights_(std::move(weights)) {}
  bool empty() const {
    return std::none_of(weights_.begin(), weights_.end(), [](double w) { return w > 0; });
  }
  ExpertId next(Words& words) {
    double left = words.unit() * std::accumulate(weights_.begin(), weights_.end(), 0.0);
    ExpertId chosen;
    for (const ExpertId e : weights_.ids()) {
      if (weights_[e] <= 0) continue;
      chosen = e;
      left -= weights_[e];
      if (left < 0) break;
    }
    weights_[chosen] = 0;
    return chosen;
  }
  void without(ExpertId expert) { weights_[expert] = 0; }

 private:
  IdVector<ExpertId, double> weights_;
};

IdVector<ExpertId, double> zipf_weights(std::int64_t num_experts, double alpha, std::uint64_t seed) {
  std::vector<std::int64_t> places(static_cast<std::size_t>(num_experts));
  std::iota(places.begin(), places.end(), 1);
  Words words(seed, kOfTheSeed, 0);
  for (std::size_t i = places.size(); i > 1; --i)
    std::swap(places[i - 1], places[static_cast<std::size_t>(words.below(static_cast<std::int64_t>(i)))]);
  IdVector<ExpertId, double> weights;
  for (const std::int64_t place : places) weights.push_back(std::pow(static_cast<double>(place), -alpha));
  return weights;
}

}  // namespace

std::string_view name(LoadKind kind) { return kNames[static_cast<std::size_t>(kind)]; }

std::optional<LoadKind> load_from(std::string_view word) {
  for (const LoadKind kind : kAllLoadKinds)
    if (word == name(kind)) return kind;
  return std::nullopt;
}

std::vector<std::int64_t> SyntheticLoad::group_rows(const Grid& grid, std::int64_t rows_a_rank,
                                                    std::int64_t step) const {
  const std::int64_t rows = rows_a_rank * grid.layout().tp;
  std::vector<std::int64_t> counts(static_cast<std::size_t>(grid.layout().dp), rows);
  if (kind == LoadKind::kRagged)
    for (std::size_t group = 0; group < counts.size(); ++group) {
      Words words(seed, step, static_cast<std::int64_t>(group));
      constexpr std::int64_t kOneInIsEmpty = 4;  // the others make up for it
      counts[group] = words.below(kOneInIsEmpty) == 0 ? 0 : words.below(2 * rows * kOneInIsEmpty / 3 + 1);
    }
  if (kind == LoadKind::kBurst)
    for (std::int64_t& count : counts)
      count = step % kBurstSteps == kBurstSteps - 1 ? kBurstFactor * count : (count + kBurstFactor - 1) / kBurstFactor;
  return counts;
}

void SyntheticLoad::choose(const Grid& grid, std::int64_t step, std::int64_t row, std::span<std::int32_t> experts,
                           std::span<float> gates) const {
  const std::int64_t num_experts = grid.config().num_experts;
  Words words(seed, step, row);
  const ExpertId hot(Words(seed, kOfTheSeed, 1).below(num_experts));
  const SubsetId hot_subset = grid.home_subset(hot);
  const IdVector<ExpertId, double> alike(num_experts, 1);
  IdVector<ExpertId, double> weights = alike;
  const auto allow = [&](const std::function<bool(SubsetId)>& subset_allowed) {
    for (const ExpertId e : weights.ids()) weights[e] = subset_allowed(grid.home_subset(e)) ? 1 : 0;
  };
  const auto distance = [&](SubsetId subset) {
    return (subset.value() - hot_subset.value() + grid.layout().ep) % grid.layout().ep;
  };
  std::size_t done = 0;
  switch (kind) {
    case LoadKind::kZipf:
      weights = zipf_weights(num_experts, alpha, seed);
      break;
    case LoadKind::kHotRank:
      allow([&](SubsetId subset) { return subset == hot_subset; });
      break;
    case LoadKind::kIncast:
      allow([&](SubsetId subset) { return distance(subset) < num_hot; });
      break;
    case LoadKind::kIdleRank:
      allow([&](SubsetId subset) { return subset != hot_subset; });
      break;
    case LoadKind::kHotExpert:
      experts[done++] = hot.value();
      break;
    case LoadKind::kRotating:
      experts[done++] = static_cast<std::int32_t>((hot.value() + step) % num_experts);
      break;
    case LoadKind::kUniform:
    case LoadKind::kRagged:
    case LoadKind::kBurst:
      break;
  }
  Draw draw(std::move(weights));
  if (done > 0) draw.without(ExpertId(experts[0]));
  for (; done < experts.size(); ++done) {
    if (draw.empty()) {
      draw = Draw(alike);  // where the allowed ones do not suffice
      for (std::size_t i = 0; i < done; ++i) draw.without(ExpertId(experts[i]));
    }
    experts[done] = draw.next(words).value();
  }
  for (float& gate : gates) gate = static_cast<float>(words.unit());
  std::sort(gates.begin(), gates.end(), std::greater<>());
}

}  // namespace moesaic::plan
