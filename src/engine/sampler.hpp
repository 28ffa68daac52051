#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace moesaic {

/// How a token is drawn from logits; applied in this order (docs/numerics.md).
struct SamplingOptions {
  float repetition_penalty =
      1;  ///< 1e-6 to 1e6; positive logits / r, negative * r, for every token of prompt and continuation
  float temperature = 0;  ///< 0, or 1e-6 to 1e6, so that no logit overflows; 0: the largest logit, ties to the lower id
  std::int32_t top_k = 0;  ///< 0: all
  float top_p = 1;         ///< (0, 1]
  std::uint64_t seed = 0;
};

/// Where a draw stands: the same token is drawn for it in every layout and batch.
struct DrawPoint {
  std::uint64_t sequence = 0;  ///< index of the prompt
  std::uint64_t position = 0;  ///< of the token that is drawn
};

/// Draws a token id from logits (V). history: the sequence's tokens so far.
std::int32_t sample(std::span<const float> logits, const SamplingOptions& options,
                    std::span<const std::int32_t> history, DrawPoint point);

/// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

/// Uniform in [0, 1) with 24 bits: key = seed, counter = (sequence, position).
float uniform(std::uint64_t seed, DrawPoint point);

}  // namespace moesaic
