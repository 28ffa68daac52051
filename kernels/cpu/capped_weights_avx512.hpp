#pragma once

#include <immintrin.h>

#include "elementwise.hpp"

/// math::capped_weight_f32 for a block of keys, operation by operation, where the compiler's own vector code of
/// weights() spends a third more: its clamps are comparisons and blends, its rounding is integer arithmetic. Included
/// by path_avx512.cpp only.
namespace moesaic::cpu {
namespace {  // NOLINT: as elementwise.hpp

constexpr int kVectors = kKeys / 16;
/// The zero-masked forms: gcc 12 warns about the undefined operand in its own header otherwise.
constexpr __mmask16 kAll = 0xffff;

/// math::exp_f32 of 16 numbers. max and min return their second operand when one is a NaN, so a NaN passes through; one
/// without a payload, as operations on numbers make it, stays one in the last addition too, and no other can occur.
MOESAIC_INLINE __m512 exp_f32(__m512 x) {
  const __m512 round = _mm512_set1_ps(0x1.8p23f);
  x = _mm512_maskz_max_ps(kAll, _mm512_set1_ps(-87.0f), x);
  x = _mm512_maskz_min_ps(kAll, _mm512_set1_ps(88.0f), x);
  const __m512 shifted = x * _mm512_set1_ps(0x1.715476p0f) + round;
  const __m512 n = shifted - round;
  const __m512 r = (x - n * _mm512_set1_ps(0x1.63p-1f)) - n * _mm512_set1_ps(-0x1.bd0106p-13f);
  const __m512 r2 = r * r;
  const __m512 low = _mm512_set1_ps(0x1.fffffcp-2f) + _mm512_set1_ps(0x1.555492p-3f) * r;
  const __m512 high =
      (_mm512_set1_ps(0x1.5558f2p-5f) + _mm512_set1_ps(0x1.1239e2p-7f) * r) + _mm512_set1_ps(0x1.6a2434p-10f) * r2;
  const __m512 q = low + high * r2;
  const __m512 y = (q * r2 + r) + _mm512_set1_ps(1.0f);
  return _mm512_castsi512_ps(
      _mm512_add_epi32(_mm512_castps_si512(y), _mm512_maskz_slli_epi32(kAll, _mm512_castps_si512(shifted), 23)));
}

/// p(64) = the weights of the first `visible` keys, +0 for the rest.
MOESAIC_INLINE void capped_weights(const float* scores, int visible, const math::CappedSoftmax& softmax,
                                   __m512 (&p)[kVectors]) {
  const __m512 multiplier = _mm512_set1_ps(softmax.multiplier), two_over_cap = _mm512_set1_ps(softmax.two_over_cap),
               minus_two_cap = _mm512_set1_ps(softmax.minus_two_cap), one = _mm512_set1_ps(1.0f);
  const std::uint64_t seen = visible >= kKeys ? ~std::uint64_t{0} : (std::uint64_t{1} << visible) - 1;
#pragma GCC unroll 4
  for (int i = 0; i < kVectors; ++i) {
    const __m512 s = _mm512_loadu_ps(scores + 16 * i) * multiplier;
    const __m512 weight = exp_f32(minus_two_cap / (exp_f32(s * two_over_cap) + one));
    p[i] = _mm512_maskz_mov_ps(static_cast<__mmask16>(seen >> (16 * i)), weight);
  }
}

}  // namespace
}  // namespace moesaic::cpu
