#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "base/math.hpp"
#include "engine/sampler.hpp"

/// The definition of sampling in docs/numerics.md, step by step: the sequential twin of engine/sampler.cpp.
namespace moesaic::slow {

struct Candidate {
  std::int32_t id;
  float logit;
};

inline bool ascending_logit(const Candidate& a, const Candidate& b) {
  return a.logit < b.logit || (a.logit == b.logit && a.id < b.id);
}

inline void adjust(std::vector<Candidate>& all, const SamplingOptions& options, const TokenHistory& history) {
  for (const auto& [id, bias] : options.logit_bias) all[static_cast<std::size_t>(id)].logit += bias;
  for (const std::int32_t id : std::set<std::int32_t>(history.tokens.begin(), history.tokens.end())) {
    float& logit = all[static_cast<std::size_t>(id)].logit;
    if (options.repetition_penalty != 1)
      logit = logit > 0 ? logit / options.repetition_penalty : logit * options.repetition_penalty;
  }
  std::map<std::int32_t, int> counts;
  for (const std::int32_t id : history.tokens.subspan(history.num_prompt)) ++counts[id];
  for (const auto& [id, count] : counts) {
    float& logit = all[static_cast<std::size_t>(id)].logit;
    logit = logit - static_cast<float>(count) * options.frequency_penalty;
    logit = logit - options.presence_penalty;
  }
}

inline void keep_top_k(std::vector<Candidate>& candidates, std::int32_t k) {
  if (k <= 0 || k >= std::ssize(candidates)) return;
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
  });
  candidates.resize(static_cast<std::size_t>(k));
}

inline std::vector<float> weights_of(const std::vector<Candidate>& candidates) {
  const float largest = std::max_element(candidates.begin(), candidates.end(), ascending_logit)->logit;
  std::vector<float> weights;
  for (const Candidate& c : candidates) weights.push_back(math::exp_f32(c.logit - largest));
  return weights;
}

inline void keep_top_p(std::vector<Candidate>& candidates, float p) {
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

inline void keep_min_p(std::vector<Candidate>& candidates, float min_p) {
  if (min_p <= 0) return;
  const float largest = std::max_element(candidates.begin(), candidates.end(), ascending_logit)->logit;
  std::erase_if(candidates, [&](const Candidate& c) { return math::exp_f32(c.logit - largest) < min_p; });
}

inline std::int32_t draw(std::vector<Candidate>& candidates, float u) {
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
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

inline std::int32_t sample(std::span<const float> logits, const SamplingOptions& options, const TokenHistory& history,
                           DrawPoint point, std::span<const std::int32_t> banned = {}) {
  std::vector<Candidate> candidates;
  for (std::size_t id = 0; id < logits.size(); ++id) candidates.push_back({static_cast<std::int32_t>(id), logits[id]});
  adjust(candidates, options, history);
  std::erase_if(candidates, [&](const Candidate& c) { return std::ranges::count(banned, c.id) > 0; });
  if (options.temperature == 0)
    return std::min_element(candidates.begin(), candidates.end(),
                            [](const Candidate& a, const Candidate& b) { return a.logit > b.logit; })
        ->id;
  for (Candidate& c : candidates) c.logit = c.logit / options.temperature;
  keep_top_k(candidates, options.top_k);
  keep_top_p(candidates, options.top_p);
  keep_min_p(candidates, options.min_p);
  return draw(candidates, uniform(options.seed, point));
}

}  // namespace moesaic::slow
