#include "engine/sampler.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "base/error.hpp"
#include "base/math.hpp"
#include "engine/sort_floats.hpp"

namespace moesaic {
namespace {

/// What is left of the vocabulary, in ascending id.
struct Candidates {
  std::vector<std::int32_t> ids;
  std::vector<float> logits;

  std::size_t size() const { return ids.size(); }

  /// Keeps those of which keep(logit) is true.
  template <class Keep>
  void keep_if(const Keep& keep) {
    std::size_t num_kept = 0;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const std::int32_t id = ids[i];
      const float logit = logits[i];
      ids[num_kept] = id;
      logits[num_kept] = logit;
      num_kept += keep(logit);
    }
    ids.resize(num_kept);
    logits.resize(num_kept);
  }
};

/// A thread's buffers, kept from row to row.
struct Scratch {
  Candidates candidates;
  std::vector<float> sorted, weights;
  std::vector<std::uint32_t> counts;  // by id; zero between uses
  SortBuffers sort;
};

/// Independent maxima, so that the loop becomes vector code.
float largest_of(std::span<const float> values) {
  constexpr std::size_t kLanes = 16;
  float lanes[kLanes];
  std::fill_n(lanes, kLanes, -std::numeric_limits<float>::infinity());
  std::size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes)
    for (std::size_t lane = 0; lane < kLanes; ++lane)
      lanes[lane] = values[i + lane] > lanes[lane] ? values[i + lane] : lanes[lane];
  float largest = *std::max_element(lanes, lanes + kLanes);
  for (; i < values.size(); ++i) largest = std::max(largest, values[i]);
  return largest;
}

std::size_t first_largest(std::span<const float> values) {
  return static_cast<std::size_t>(std::find(values.begin(), values.end(), largest_of(values)) - values.begin());
}

/// apply(logit, count) for each token, once, with how often it is there.
template <class Apply>
void for_each_distinct(std::span<const std::int32_t> tokens, Scratch& scratch, const Apply& apply) {
  auto& logits = scratch.candidates.logits;
  scratch.counts.resize(logits.size());
  for (const std::int32_t id : tokens) ++scratch.counts[static_cast<std::size_t>(id)];
  for (const std::int32_t id : tokens)
    if (const std::uint32_t count = std::exchange(scratch.counts[static_cast<std::size_t>(id)], 0))
      apply(logits[static_cast<std::size_t>(id)], static_cast<float>(count));
}

/// Logit bias and penalties, while the candidates are still the whole vocabulary.
void adjust(const SamplingOptions& options, const TokenHistory& history, Scratch& scratch) {
  for (const auto& [id, bias] : options.logit_bias) {
    MOESAIC_CHECK(id >= 0 && static_cast<std::size_t>(id) < scratch.candidates.size(), "token {}", id);
    scratch.candidates.logits[static_cast<std::size_t>(id)] += bias;
  }
  if (options.repetition_penalty != 1)
    for_each_distinct(history.tokens, scratch, [&](float& logit, float) {
      logit = logit > 0 ? logit / options.repetition_penalty : logit * options.repetition_penalty;
    });
  if (options.frequency_penalty != 0 || options.presence_penalty != 0)
    for_each_distinct(history.tokens.subspan(history.num_prompt), scratch, [&](float& logit, float count) {
      logit = (logit - count * options.frequency_penalty) - options.presence_penalty;
    });
}

void remove(std::span<const std::int32_t> banned, Candidates& candidates) {
  for (std::size_t i = banned.size(); i-- > 0;) {
    const auto id = static_cast<std::ptrdiff_t>(banned[i]);
    MOESAIC_CHECK(id >= 0 && id < std::ssize(candidates.ids) && (i == 0 || banned[i - 1] < id), "banned token {}", id);
    candidates.ids.erase(candidates.ids.begin() + id);
    candidates.logits.erase(candidates.logits.begin() + id);
  }
  MOESAIC_CHECK(candidates.size() > 0, "all {} tokens are banned", banned.size());
}

/// Keeps the k largest; equal logits: the lower ids.
void keep_top_k(std::int32_t k, Scratch& scratch) {
  Candidates& candidates = scratch.candidates;
  if (k <= 0 || static_cast<std::size_t>(k) >= candidates.size()) return;
  const float kth = kth_largest(candidates.logits, static_cast<std::size_t>(k), scratch.sort);
  std::int64_t num_equal = k;  // that stay
  for (const float logit : candidates.logits) num_equal -= logit > kth;
  candidates.keep_if([&](float logit) { return logit > kth || (logit == kth && num_equal-- > 0); });
}

/// exp(logit - largest) of each, in their order.
void weigh(std::span<const float> logits, float largest, std::vector<float>& weights) {
  weights.resize(logits.size());
  const float* in = logits.data();
  float* out = weights.data();
  for (std::size_t i = 0; i < logits.size(); ++i) out[i] = math::exp_f32(in[i] - largest);
}

/// Nucleus: the threshold is the logit at the first index, ascending, where the cumulative probability reaches 1 - p;
/// every logit from it on stays. The sums are rounded at every step, so their order is part of the result, and all
/// must be sorted; the ids need not, as equal logits have equal weights.
void keep_top_p(float p, Scratch& scratch) {
  if (p >= 1) return;
  std::vector<float>& sorted = scratch.sorted;
  std::vector<float>& weights = scratch.weights;
  sorted = scratch.candidates.logits;
  sort_ascending(sorted, scratch.sort);
  weigh(sorted, sorted.back(), weights);
  float total = 0;
  for (const float weight : weights) total += weight;
  float cumulative = 0;
  std::size_t first = 0;
  for (; first + 1 < sorted.size(); ++first) {
    cumulative += weights[first] / total;
    if (cumulative >= 1 - p) break;
  }
  scratch.candidates.keep_if([threshold = sorted[first]](float logit) { return logit >= threshold; });
}

/// Keeps what is at least min_p times as probable as the most probable one.
void keep_min_p(float min_p, Candidates& candidates) {
  if (min_p <= 0) return;
  const float largest = largest_of(candidates.logits);
  candidates.keep_if([&](float logit) { return math::exp_f32(logit - largest) >= min_p; });
}

/// Inverse of the cumulative distribution in ascending id.
std::int32_t draw(const Candidates& candidates, float u, std::vector<float>& weights) {
  weigh(candidates.logits, largest_of(candidates.logits), weights);
  std::partial_sum(weights.begin(), weights.end(), weights.begin());  // ascending, as all weights are positive
  const auto drawn = std::upper_bound(weights.begin(), weights.end(), u * weights.back());
  return drawn == weights.end() ? candidates.ids.back()
                                : candidates.ids[static_cast<std::size_t>(drawn - weights.begin())];
}

bool adjusts(const SamplingOptions& options) {
  return options.repetition_penalty != 1 || options.frequency_penalty != 0 || options.presence_penalty != 0 ||
         !options.logit_bias.empty();
}

}  // namespace

std::int32_t sample(std::span<const float> logits, const SamplingOptions& options, const TokenHistory& history,
                    DrawPoint point, std::span<const std::int32_t> banned) {
  if (options.temperature == 0 && !adjusts(options) && banned.empty())
    return static_cast<std::int32_t>(first_largest(logits));
  thread_local Scratch scratch;
  Candidates& candidates = scratch.candidates;
  candidates.logits.assign(logits.begin(), logits.end());
  candidates.ids.resize(logits.size());
  std::iota(candidates.ids.begin(), candidates.ids.end(), 0);
  adjust(options, history, scratch);
  remove(banned, candidates);
  if (options.temperature == 0) return candidates.ids[first_largest(candidates.logits)];
  for (float& logit : candidates.logits) logit = logit / options.temperature;
  keep_top_k(options.top_k, scratch);
  keep_top_p(options.top_p, scratch);
  keep_min_p(options.min_p, candidates);
  return draw(candidates, uniform(options.seed, point), scratch.weights);
}

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  constexpr std::uint64_t kMultiplier[] = {0xD2511F53, 0xCD9E8D57};
  constexpr std::uint32_t kWeyl[] = {0x9E3779B9, 0xBB67AE85};
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = kMultiplier[0] * counter[0], b = kMultiplier[1] * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key[0] += kWeyl[0];
    key[1] += kWeyl[1];
  }
  return counter;
}

float uniform(std::uint64_t seed, DrawPoint point) {
  const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x); };
  const auto high = [](std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); };
  MOESAIC_CHECK(high(point.position) == 0, "position {} of sequence {}", point.position, point.sequence);
  const auto words = philox4x32({low(point.sequence), high(point.sequence), low(point.position), point.choice},
                                {low(seed), high(seed)});
  return static_cast<float>(words[0] >> 8) * 0x1p-24f;
}

}  // namespace moesaic
