#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace moesaic {

/// How a token is drawn from logits; applied in the order of docs/numerics.md.
struct SamplingOptions {
  float repetition_penalty =
      1;  ///< 1e-6 to 1e6; positive logits / r, negative * r, for every token of prompt and continuation
  float temperature = 0;  ///< 0, or 1e-6 to 1e6, so that no logit overflows; 0: the largest logit, ties to the lower id
  std::int32_t top_k = 0;  ///< 0: all
  float top_p = 1;         ///< (0, 1]
  std::uint64_t seed = 0;
  float min_p = 0;              ///< [0, 1]: least probability, as a share of the largest
  float presence_penalty = 0;   ///< -2 to 2; off the logit of every token of the continuation
  float frequency_penalty = 0;  ///< -2 to 2; the same, for each time that it is there
  std::vector<std::pair<std::int32_t, float>> logit_bias;  ///< (id, -100 to 100), added first; an id at most once
};

/// Key of a draw's random number: the same token is drawn for it in every layout and batch.
struct DrawPoint {
  std::uint64_t sequence = 0;  ///< index of the prompt
  std::uint64_t position = 0;  ///< of the token that is drawn; below 2^32
  std::uint32_t choice = 0;    ///< of several continuations of the prompt
};

/// A sequence's tokens so far.
struct TokenHistory {
  std::span<const std::int32_t> tokens;
  std::size_t num_prompt = 0;  ///< the first so many are the prompt
};

/// Draws a token id from logits (V), which are finite; never one of `banned` (ascending), which must leave one. May be
/// called by several threads at once; from a thread's second row on nothing is allocated.
std::int32_t sample(std::span<const float> logits, const SamplingOptions& options, const TokenHistory& history,
                    DrawPoint point, std::span<const std::int32_t> banned = {});

/// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

/// Uniform in [0, 1) with 24 bits: key = seed, counter = (sequence, position, choice).
float uniform(std::uint64_t seed, DrawPoint point);

}  // namespace moesaic
