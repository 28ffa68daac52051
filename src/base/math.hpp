#pragma once

#include <cstdint>

/// Functions of our own instead of libm's, which differ between machines: multiplications, additions,
/// divisions and square roots only, each rounded by itself (never an fma), in the order written here and in
/// docs/numerics.md. Always inlined, because the kernels' instruction paths compile them with flags of their
/// own.
namespace moesaic::math {

#define MOESAIC_INLINE [[gnu::always_inline]] inline

/// std::bit_cast without a function: without optimisation gcc would emit one, compiled for the path's
/// instruction set.
#define MOESAIC_BITS(type, x) __builtin_bit_cast(type, x)

/// e^x, at most 2 ulp off. x is clamped to [-87, 88], so the result is never zero, subnormal or infinite; NaN
/// stays NaN. Free of branches: loops over it become vector code.
MOESAIC_INLINE float exp_f32(float x) {
  constexpr float kRound = 0x1.8p23f;  // adding it leaves a rounded integer in the low bits
  x = -87.0f > x ? -87.0f : x;
  x = 88.0f < x ? 88.0f : x;
  const float shifted = x * 0x1.715476p0f + kRound;  // n = x / ln 2, rounded
  const float n = shifted - kRound;
  const float r = (x - n * 0x1.63p-1f) - n * -0x1.bd0106p-13f;  // x - n ln 2; n times the first part is exact
  const float r2 = r * r;                                       // q = (e^r - 1 - r) / r^2, minimax
  const float low = 0x1.fffffcp-2f + 0x1.555492p-3f * r;
  const float high = (0x1.5558f2p-5f + 0x1.1239e2p-7f * r) + 0x1.6a2434p-10f * r2;
  const float q = low + high * r2;
  const float y = (q * r2 + r) + 1.0f;
  return MOESAIC_BITS(float, MOESAIC_BITS(std::uint32_t, y) + (MOESAIC_BITS(std::uint32_t, shifted) << 23));
}

/// The tanh approximation of GELU, x/2 (1 + tanh u) = x / (1 + e^(-2u)) with u = sqrt(2/pi) (x + 0.044715
/// x^3).
MOESAIC_INLINE float gelu_f32(float x) {
  const float u = 0.7978845608f * (x + 0.044715f * ((x * x) * x));
  return x / (1.0f + exp_f32(-2.0f * u));
}

/// Constants of capped_weight_f32, each rounded once.
struct CappedSoftmax {
  float multiplier, two_over_cap, minus_two_cap;
  MOESAIC_INLINE CappedSoftmax(float multiplier_, float cap)
      : multiplier(multiplier_), two_over_cap(2.0f / cap), minus_two_cap(-2.0f * cap) {}
};

/// e^(cap tanh(s / cap) - cap) = e^(-2 cap / (e^(2 s / cap) + 1)) with s = dot * multiplier: the weight, up
/// to the sum, that a soft-capped softmax gives to a key; in (0, 1].
MOESAIC_INLINE float capped_weight_f32(float dot, const CappedSoftmax& c) {
  const float s = dot * c.multiplier;
  return exp_f32(c.minus_two_cap / (exp_f32(s * c.two_over_cap) + 1.0f));
}

/// x / (pi/2) to the nearest integer and the rest of x, |rest| <= pi/4; for |x| <= 2^17.
struct QuarterTurns {
  std::int64_t count;
  double rest;
};
MOESAIC_INLINE QuarterTurns quarter_turns(double x) {
  constexpr double kRound = 0x1.8p52;
  const double n = (x * 0x1.45f306dc9c883p-1 + kRound) - kRound;
  // pi/2 in parts of 33 bits, so that n times a part is exact.
  const double rest = ((x - n * 0x1.921fb544p+0) - n * 0x1.0b4611a6p-34) - n * 0x1.3198a2e037073p-69;
  return {static_cast<std::int64_t>(n), rest};
}

/// Taylor series on [-pi/4, pi/4], Horner.
MOESAIC_INLINE double sin_series(double r) {
  const double r2 = r * r;
  double q = 1.0 / 355687428096000.0;
  q = q * r2 - 1.0 / 1307674368000.0;
  q = q * r2 + 1.0 / 6227020800.0;
  q = q * r2 - 1.0 / 39916800.0;
  q = q * r2 + 1.0 / 362880.0;
  q = q * r2 - 1.0 / 5040.0;
  q = q * r2 + 1.0 / 120.0;
  q = q * r2 - 1.0 / 6.0;
  return (q * r2) * r + r;
}
MOESAIC_INLINE double cos_series(double r) {
  const double r2 = r * r;
  double q = -1.0 / 6402373705728000.0;
  q = q * r2 + 1.0 / 20922789888000.0;
  q = q * r2 - 1.0 / 87178291200.0;
  q = q * r2 + 1.0 / 479001600.0;
  q = q * r2 - 1.0 / 3628800.0;
  q = q * r2 + 1.0 / 40320.0;
  q = q * r2 - 1.0 / 720.0;
  q = q * r2 + 1.0 / 24.0;
  return ((q * r2) * r2 - 0.5 * r2) + 1.0;
}

/// Sine and cosine of |x| <= 2^17, absolute error below 1e-15.
MOESAIC_INLINE double sin_f64(double x) {
  const auto [count, rest] = quarter_turns(x);
  const double y = count % 2 == 0 ? sin_series(rest) : cos_series(rest);
  return (count & 2) == 0 ? y : -y;
}
MOESAIC_INLINE double cos_f64(double x) {
  const auto [count, rest] = quarter_turns(x);
  const double y = count % 2 == 0 ? cos_series(rest) : sin_series(rest);
  return ((count + 1) & 2) == 0 ? y : -y;
}

/// Natural logarithm of a positive normal x, relative error below 1e-15: 2 atanh(s), s = (m - 1) / (m + 1).
MOESAIC_INLINE double log_f64(double x) {
  const std::uint64_t bits = MOESAIC_BITS(std::uint64_t, x);
  std::int64_t exponent = static_cast<std::int64_t>(bits >> 52) - 1023;
  double m = MOESAIC_BITS(double, (bits & 0xfffffffffffffULL) | 0x3ff0000000000000ULL);
  if (m > 1.4142135623730951) {
    m = m * 0.5;
    ++exponent;
  }
  const double s = (m - 1.0) / (m + 1.0), s2 = s * s;
  double q = 1.0 / 25.0;
  for (int k = 23; k >= 3; k -= 2) q = q * s2 + 1.0 / k;
  const auto e = static_cast<double>(exponent);
  return e * 0x1.62e42feep-1 + (2.0 * s + ((2.0 * s) * (q * s2) + e * 0x1.a39ef35793c76p-33));
}

/// e^x for |x| <= 700, relative error below 1e-15; Taylor series after taking out powers of two.
MOESAIC_INLINE double exp_f64(double x) {
  constexpr double kRound = 0x1.8p52;
  const double n = (x * 0x1.71547652b82fep+0 + kRound) - kRound;
  const double r = (x - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
  double q = 1.0 / 6227020800.0, factorial = 6227020800.0;
  for (int k = 13; k >= 3; --k) {
    factorial = factorial / k;
    q = q * r + 1.0 / factorial;
  }
  const double y = ((q * r) * r + r) + 1.0;
  return MOESAIC_BITS(
      double, MOESAIC_BITS(std::uint64_t, y) + (static_cast<std::uint64_t>(static_cast<std::int64_t>(n)) << 52));
}

/// The f32 mode's own: gelu_f32 and capped_weight_f32 in double precision, rounded once, so that the reference has no
/// error here but that rounding.
MOESAIC_INLINE double clamped_exp_f64(double x) { return exp_f64(x > 700.0 ? 700.0 : x < -700.0 ? -700.0 : x); }
MOESAIC_INLINE float gelu_exact(float x) {
  const double wide = x;
  const double u = 0.7978845608028654 * (wide + 0.044715 * ((wide * wide) * wide));
  return static_cast<float>(wide / (1.0 + clamped_exp_f64(-2.0 * u)));
}
MOESAIC_INLINE float capped_weight_exact(float dot, const CappedSoftmax& c) {
  const float s = dot * c.multiplier;
  const double minus_two_cap = c.minus_two_cap;
  const double e = clamped_exp_f64(-4.0 * static_cast<double>(s) / minus_two_cap);  // e^(2 s / cap)
  return static_cast<float>(exp_f64(minus_two_cap / (e + 1.0)));
}

/// Frequency j of a rotary embedding over K channels: fp32(1 / base^(2j/K)).
MOESAIC_INLINE float rope_inverse_frequency(double base, std::int64_t j, std::int64_t key_size) {
  return static_cast<float>(1.0 / exp_f64(static_cast<double>(2 * j) / static_cast<double>(key_size) * log_f64(base)));
}

}  // namespace moesaic::math
