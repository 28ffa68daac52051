#pragma once

#include <cstdint>
#include <limits>

#include "base/math.hpp"

/// Numbers as integers with a scale (docs/numerics.md). Always inlined, as base/math.hpp is.
namespace moesaic::math {

/// The largest magnitude that quantise() gives: of int16 256 h + l with h and l both at most 127.
template <class Int>
inline constexpr std::int32_t kMostQuantised = sizeof(Int) == 1 ? 127 : 127 * 256 + 127;

struct QuantisedScale {
  float scale;
  std::int32_t sum;  ///< of the integers
};

/// q(n) with x about q * scale, |q| at most kMostQuantised, symmetric. All zero with scale 0 where the largest
/// magnitude is below 2^-100; with scale NaN where an x is infinite or NaN.
template <class Int>
MOESAIC_INLINE QuantisedScale quantise(const float* __restrict x, std::int64_t n, Int* __restrict q) {
  constexpr std::int32_t kTiny = 27 << 23, kInfinity = 255 << 23;  // 2^-100
  constexpr float kMost = kMostQuantised<Int>;
  constexpr float kRound = 0x1.8p23f;  // adding it leaves a rounded integer in the low bits
  std::int32_t largest = 0;            // integers order the magnitudes, NaN above all
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int32_t magnitude = MOESAIC_BITS(std::int32_t, x[i]) & 0x7fffffff;
    largest = largest < magnitude ? magnitude : largest;
  }
  if (largest < kTiny || largest >= kInfinity) {
    for (std::int64_t i = 0; i < n; ++i) q[i] = 0;
    return {largest < kTiny ? 0.0f : __builtin_nanf(""), 0};
  }
  const float magnitude = MOESAIC_BITS(float, largest), factor = kMost / magnitude;
  std::int32_t sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const float rounded = x[i] * factor + kRound;
    const std::int32_t value = MOESAIC_BITS(std::int32_t, rounded) - MOESAIC_BITS(std::int32_t, kRound);
    q[i] = static_cast<Int>(value);
    sum += value;
  }
  return {magnitude / kMost, sum};
}

}  // namespace moesaic::math
