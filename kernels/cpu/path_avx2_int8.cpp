#include <immintrin.h>

#include "elementwise.hpp"

/// w8a8's products with AVX2: pairs of int16, multiplied and added by vpmaddwd, which is exact (vpmaddubsw,
/// on bytes, would saturate). Tile of up to 6 rows x 16 columns, 12 accumulators; a vector holds a pair of 8
/// columns.
namespace moesaic::cpu {
namespace {

constexpr int kRows = 6, kDirectRows = 3;

MOESAIC_INLINE __m256i broadcast(const Int16Pair* x) { return _mm256_set1_epi32(MOESAIC_BITS(std::int32_t, *x)); }
MOESAIC_INLINE void dot(__m256i& acc, __m256i w, __m256i x) { acc = _mm256_add_epi32(acc, _mm256_madd_epi16(w, x)); }
MOESAIC_INLINE __m256i load(const float* at) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)); }
MOESAIC_INLINE void store(float* at, __m256i v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), v); }

/// A group of a packed line: 4 columns of the panel's first half and 4 of the second.
MOESAIC_INLINE __m256i group(const std::byte* packed) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(packed)));
}

void expand(const void* packed, int64_t num_steps, void* lines) {
  const auto* in = static_cast<const std::byte*>(packed);
  auto* out = static_cast<__m128i*>(lines);
  for (int64_t j = 0; j < num_steps; ++j, in += 64, out += 8)
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) {
      const __m256i pairs = group(in + g * 16);
      _mm_store_si128(out + g, _mm256_castsi256_si128(pairs));
      _mm_store_si128(out + 4 + g, _mm256_extracti128_si256(pairs, 1));
    }
}

template <int R>
void tile_rows(const Int16Pair* x, const __m256i* lines, int64_t num_steps, float* out, const char* next) {
  for (int half = 0; half < 2; ++half) {
    __m256i acc[R][2];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int c = 0; c < 2; ++c) acc[r][c] = load(out + r * kColumns + half * 16 + c * 8);
    for (int64_t j = 0; j < num_steps; ++j) {
      if (half == 0 && next) _mm_prefetch(next + j * 64, _MM_HINT_T0);
      const __m256i first = _mm256_load_si256(lines + 4 * j + 2 * half),
                    second = _mm256_load_si256(lines + 4 * j + 2 * half + 1);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const __m256i b = broadcast(x + j * R + r);
        dot(acc[r][0], first, b);
        dot(acc[r][1], second, b);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int c = 0; c < 2; ++c) store(out + r * kColumns + half * 16 + c * 8, acc[r][c]);
  }
}

/// Few rows: weights are widened in registers and used at once; an accumulator has the columns of a group.
template <int R>
void direct_rows(const Int16Pair* x, const std::byte* packed, int64_t num_steps, float* out) {
  auto* sums = reinterpret_cast<int*>(out);
  __m256i acc[R][4];
  const auto at = [&](int r, int g) { return reinterpret_cast<__m128i*>(sums + r * kColumns + g * 4); };
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) acc[r][g] = _mm256_loadu2_m128i(at(r, 4 + g), at(r, g));
  for (int64_t j = 0; j < num_steps; ++j, x += R, packed += 64)
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) {
      const __m256i w = group(packed + g * 16);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) dot(acc[r][g], w, broadcast(x + r));
    }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) _mm256_storeu2_m128i(at(r, 4 + g), at(r, g), acc[r][g]);
}

void tile(int rows, const void* x, const void* lines, int64_t num_steps, float* acc, const void* next) {
  static constexpr void (*kTiles[kRows])(const Int16Pair*, const __m256i*, int64_t, float*, const char*) = {
      tile_rows<1>, tile_rows<2>, tile_rows<3>, tile_rows<4>, tile_rows<5>, tile_rows<6>};
  kTiles[rows - 1](static_cast<const Int16Pair*>(x), static_cast<const __m256i*>(lines), num_steps, acc,
                   static_cast<const char*>(next));
}

void direct(int rows, const void* x, const void* packed, int64_t num_steps, float* acc) {
  static constexpr void (*kTiles[kDirectRows])(const Int16Pair*, const std::byte*, int64_t, float*) = {
      direct_rows<1>, direct_rows<2>, direct_rows<3>};
  kTiles[rows - 1](static_cast<const Int16Pair*>(x), static_cast<const std::byte*>(packed), num_steps, acc);
}

}  // namespace

constexpr Product kAvx2Int8 = {.quantised = true,
                               .step_inputs = 2,
                               .step_bytes = sizeof(Int16Pair),
                               .line_bytes = 4 * kColumns,
                               .tile_rows = kRows,
                               .direct_rows = kDirectRows,
                               .make_steps = make_int16_pairs,
                               .expand = expand,
                               .tile = tile,
                               .direct = direct,
                               .scale_leaf = scale_int8_leaf<0>};
static_assert(rows_fit(kAvx2Int8));

}  // namespace moesaic::cpu
