#include "definition.hpp"

namespace moesaic::cpu::test {
namespace {

/// |y - exact| in units of the last place of exact.
double ulps(float y, long double exact) {
  int exponent = 0;
  std::frexp(static_cast<double>(exact), &exponent);
  return std::abs(static_cast<double>((static_cast<long double>(y) - exact) / std::ldexp(1.0L, exponent - 24)));
}

TEST(Math, ExpF32) {
  double worst = 0;
  for (std::uint32_t u = 0; u < 0xff800000u; u += 4093) {
    const float x = std::bit_cast<float>(u);
    if (x > -87.0f && x < 88.0f) worst = std::max(worst, ulps(exp_f32(x), std::exp(static_cast<long double>(x))));
  }
  EXPECT_LE(worst, 1.0);
  EXPECT_EQ(exp_f32(0.0f), 1.0f);
  EXPECT_EQ(exp_f32(-0.0f), 1.0f);
  EXPECT_EQ(exp_f32(-1e30f), exp_f32(-87.0f));
  EXPECT_EQ(exp_f32(INFINITY), exp_f32(88.0f));
  EXPECT_TRUE(std::isfinite(exp_f32(88.0f)));
  EXPECT_GT(exp_f32(-87.0f), 1.2e-38f);
  EXPECT_TRUE(std::isnan(exp_f32(NAN)));
}

TEST(Math, Gelu) {
  for (float x = -12.0f; x < 12.0f; x += 0.00137f) {
    const long double u = std::sqrt(2.0L / std::acos(-1.0L)) * (x + 0.044715L * x * x * x);
    const long double exact = x / (1.0L + std::exp(-2.0L * u));  // = x/2 (1 + tanh u)
    // In units of 2^-24: 7 roundings (3 of them of constants) of u become an absolute error 2u of exp's
    // argument, which is relative in the result; exp itself, the sum and the quotient add 2 + 1 + 1.
    const long double bound = std::abs(exact) * (4.0L + 14.0L * std::abs(u)) * 0x1p-24L + 1e-37L;  // exp_f32 ends at 88
    EXPECT_NEAR(static_cast<double>(gelu_f32(x)), static_cast<double>(exact), static_cast<double>(bound)) << x;
  }
}

TEST(Math, CappedWeight) {
  const CappedSoftmax softmax(0.125f, 30.0f);
  for (float qk = -2000.0f; qk < 2000.0f; qk += 0.37f) {
    const long double exact = std::exp(30.0L * std::tanh(qk * 0.125L / 30.0L) - 30.0L);
    EXPECT_NEAR(static_cast<double>(capped_weight_f32(qk, softmax) / exact), 1.0, 64 * 0x1p-23) << qk;
  }
}

TEST(Math, SineAndCosine) {
  long double worst = 0;
  for (int i = 0; i < 200000; ++i) {
    const auto x = static_cast<double>(static_cast<float>(i) * 0.6553f);
    worst = std::max(worst, std::abs(sin_f64(x) - std::sin(static_cast<long double>(x))));
    worst = std::max(worst, std::abs(cos_f64(-x) - std::cos(static_cast<long double>(x))));
    worst = std::max(worst, std::abs(sin_f64(-x) + std::sin(static_cast<long double>(x))));
  }
  EXPECT_LT(worst, 5e-16L);
}

TEST(Math, ExpAndLogF64) {
  long double worst = 0;
  for (int i = 1; i < 200000; ++i) {
    const double x = (i - 100000) * 0.00671, y = i * 0.0173 + (i % 7) * 1e5;
    worst = std::max(worst, std::abs(exp_f64(x) / std::exp(static_cast<long double>(x)) - 1.0L));
    worst = std::max(worst, std::abs(log_f64(y) - std::log(static_cast<long double>(y))) /
                                std::max(1.0L, std::abs(std::log(static_cast<long double>(y)))));
  }
  EXPECT_LT(worst, 5e-16L);
}

TEST(Math, RopeFrequencies) {
  for (const double base : {10000.0, 1e5, 1e6})
    for (const std::int64_t key_size : {2, 20, 64, 128})
      for (std::int64_t j = 0; j < key_size / 2; ++j)
        EXPECT_EQ(
            rope_inverse_frequency(base, j, key_size),
            static_cast<float>(1.0L / std::pow(static_cast<long double>(base),
                                               static_cast<long double>(2 * j) / static_cast<long double>(key_size))));
}

/// These bits may never change, on no machine and with no compiler.
TEST(Math, ExactFunctionsAreRoundedOnce) {
  const CappedSoftmax softmax(0.25f, 30.0f);
  for (float x = -300.0f; x <= 300.0f; x += 0.037f) {
    const long double wide = x, u = 0.797884560802865355879892L * (wide + 0.044715L * wide * wide * wide);
    const long double gelu = wide / (1.0L + std::exp(-2.0L * u));
    EXPECT_NEAR(static_cast<double>(gelu_exact(x)), static_cast<double>(gelu),
                0x1p-23 * std::abs(static_cast<double>(gelu)) + 1e-37)
        << x;
    const long double s = static_cast<long double>(x * 0.25f);
    const long double weight = std::exp(30.0L * std::tanh(s / 30.0L) - 30.0L);
    EXPECT_NEAR(static_cast<double>(capped_weight_exact(x, softmax) / weight), 1.0, 0x1p-23) << x;
  }
}

TEST(Math, KnownBits) { EXPECT_EQ(bits(exp_f32(1.0f)), 0x402df854u); }

}  // namespace
}  // namespace moesaic::cpu::test
