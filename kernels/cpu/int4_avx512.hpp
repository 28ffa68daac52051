#pragma once

#include <immintrin.h>

#include "int4.hpp"

/// What both products with int4 matrices have in common with AVX-512. Included by the files of that path only.
namespace moesaic::cpu {
namespace {  // NOLINT: as elementwise.hpp

/// 16 of the bf16 scales that begin a packed group.
MOESAIC_INLINE __m512 int4_scales(const std::byte* packed) {
  const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(packed));
  return _mm512_castsi512_ps(_mm512_maskz_slli_epi32(0xffff, _mm512_maskz_cvtepu16_epi32(0xffff, halves), 16));
}

}  // namespace
}  // namespace moesaic::cpu
