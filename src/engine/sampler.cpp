#include "engine/sampler.hpp"

#include <algorithm>
#include <unordered_set>
#include <vector>

#include "ops/math.hpp"

namespace moesaic {
namespace {

struct Candidate {
  std::int32_t id;
  float logit;
};

bool ascending_logit(const Candidate& a, const Candidate& b) {
  return a.logit < b.logit || (a.logit == b.logit && a.id < b.id);
}
bool ascending_id(const Candidate& a, const Candidate& b) { return a.id < b.id; }

void penalise(std::vector<Candidate>& all, float penalty, std::span<const std::int32_t> history) {
  const std::unordered_set<std::int32_t> seen(history.begin(), history.end());
  for (const std::int32_t id : seen) {
    float& logit = all[static_cast<std::size_t>(id)].logit;
    logit = logit > 0 ? logit / penalty : logit * penalty;
  }
}

/// Keeps the k largest; equal logits: the lower ids.
void keep_top_k(std::vector<Candidate>& candidates, std::int32_t k) {
  if (k <= 0 || k >= std::ssize(candidates)) return;
  std::nth_element(
      candidates.begin(), candidates.begin() + k, candidates.end(),
      [](const Candidate& a, const Candidate& b) { return a.logit > b.logit || (a.logit == b.logit && a.id < b.id); });
  candidates.resize(static_cast<std::size_t>(k));
}

/// exp(logit - largest) of each candidate, in their order.
std::vector<float> weights_of(const std::vector<Candidate>& candidates) {
  const float largest = std::max_element(candidates.begin(), candidates.end(), ascending_logit)->logit;
  std::vector<float> weights;
  weights.reserve(candidates.size());
  for (const Candidate& c : candidates) weights.push_back(ops::exp_f32(c.logit - largest));
  return weights;
}

/// Nucleus: the threshold is the logit at the first index, ascending, where the cumulative probability reaches 1 - p;
/// every logit from it on stays.
void keep_top_p(std::vector<Candidate>& candidates, float p) {
  if (p >= 1) return;
  std::sort(candidates.begin(), candidates.end(), ascending_logit);
  const std::vector<float> weights = weights_of(candidates);
  float total = 0;
  for (const float weight : weights) total += weight;
  float cumulative = 0;
  std::size_t first = 0;
  for (; first + 1 < candidates.size(); ++first) {
    cumulative += weights[first] / total;
    if (cumulative >= 1 - p) break;
  }
  const float threshold = candidates[first].logit;
  std::erase_if(candidates, [&](const Candidate& c) { return c.logit < threshold; });
}

/// Inverse of the cumulative distribution in ascending id.
std::int32_t draw(std::vector<Candidate>& candidates, float u) {
  std::sort(candidates.begin(), candidates.end(), ascending_id);
  const std::vector<float> weights = weights_of(candidates);
  float total = 0;
  for (const float weight : weights) total += weight;
  const float target = u * total;
  float cumulative = 0;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    cumulative += weights[i];
    if (cumulative > target) return candidates[i].id;
  }
  return candidates.back().id;
}

}  // namespace

std::int32_t sample(std::span<const float> logits, const SamplingOptions& options,
                    std::span<const std::int32_t> history, DrawPoint point) {
  std::vector<Candidate> candidates;
  candidates.reserve(logits.size());
  for (std::size_t id = 0; id < logits.size(); ++id) candidates.push_back({static_cast<std::int32_t>(id), logits[id]});
  if (options.repetition_penalty != 1) penalise(candidates, options.repetition_penalty, history);
  if (options.temperature == 0)
    return std::min_element(candidates.begin(), candidates.end(),
                            [](const Candidate& a, const Candidate& b) {
                              return a.logit > b.logit;  // the first of equal ones
                            })
        ->id;
  for (Candidate& c : candidates) c.logit = c.logit / options.temperature;
  keep_top_k(candidates, options.top_k);
  keep_top_p(candidates, options.top_p);
  return draw(candidates, uniform(options.seed, point));
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
  const auto words = philox4x32({low(point.sequence), high(point.sequence), low(point.position), high(point.position)},
                                {low(seed), high(seed)});
  return static_cast<float>(words[0] >> 8) * 0x1p-24f;
}

}  // namespace moesaic
