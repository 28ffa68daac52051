#include <immintrin.h>

#include "int4_avx512.hpp"
#include "integers.hpp"

/// w4i16's products of int16 by int4 with AVX-512 VNNI: tiles of 12 rows x 32 columns, 24 accumulators; vpdpwssd does a
/// pair for 16 columns, and int32 holds the sum of a group.
namespace moesaic::cpu {
namespace {

constexpr int kRows = 12, kDirectRows = 8, kLine_bytes = 32;

/// acc += a . b over pairs of int16. As assembly, because gcc 12 copies the accumulator of the intrinsic.
MOESAIC_INLINE void dot(__m512i& acc, __m512i a, __m512i b) { asm("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b)); }
MOESAIC_INLINE __m512i broadcast(const std::uint32_t* pair) { return _mm512_set1_epi32(static_cast<int>(*pair)); }

/// Half a packed line as pairs of int16 of 16 columns, four to a shift.
MOESAIC_INLINE __m512i columns(const std::byte* half) {
  const __m512i four = _mm512_maskz_broadcast_i32x4(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(half)));
  const __m512i shifts = _mm512_set_epi64(0, 0, 0x0004000400040004, 0x0004000400040004, 0x0008000800080008,
                                          0x0008000800080008, 0x000c000c000c000c, 0x000c000c000c000c);
  return _mm512_srai_epi16(_mm512_sllv_epi16(four, shifts), 12);
}

void expand(const void* packed, int64_t num_lines, void* lines) {
  const auto* in = static_cast<const std::byte*>(packed);
  auto* out = static_cast<__m512i*>(lines);
  for (int64_t j = 0; j < num_lines; ++j, in += kLine_bytes, out += 2) {
    _mm512_store_si512(out, columns(in));
    _mm512_store_si512(out + 1, columns(in + 16));
  }
}

template <int R>
MOESAIC_INLINE void add_pair(const std::uint32_t* x, __m512i first, __m512i second, __m512i (&acc)[R][2]) {
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    const __m512i b = broadcast(x + r);
    dot(acc[r][0], first, b);
    dot(acc[r][1], second, b);
  }
}

template <int R>
void tile_rows(const std::uint32_t* x, const __m512i* lines, int64_t num_pairs, std::int32_t* out) {
  __m512i acc[R][2] = {};
  for (int64_t j = 0; j < num_pairs; ++j, x += R, lines += 2)
    add_pair(x, _mm512_load_si512(lines), _mm512_load_si512(lines + 1), acc);
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < 2; ++c) _mm512_storeu_si512(out + r * kColumns + c * 16, acc[r][c]);
}

/// acc(rows, 32) in int32, of one group, which begins with zeros.
void tile(int rows, const void* x, const void* lines, int64_t num_pairs, float* acc, const void*) {
  static constexpr void (*kTiles[kRows])(const std::uint32_t*, const __m512i*, int64_t, std::int32_t*) = {
      tile_rows<1>, tile_rows<2>, tile_rows<3>, tile_rows<4>,  tile_rows<5>,  tile_rows<6>,
      tile_rows<7>, tile_rows<8>, tile_rows<9>, tile_rows<10>, tile_rows<11>, tile_rows<12>};
  kTiles[rows - 1](static_cast<const std::uint32_t*>(x), static_cast<const __m512i*>(lines), num_pairs,
                   reinterpret_cast<std::int32_t*>(acc));
}

/// Few rows: lines come from memory, are widened in registers and used at once.
template <int R>
void direct_rows(const std::uint32_t* x, const std::byte* packed, int64_t num_pairs, float* out) {
  __m512 acc[R][2];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < 2; ++c) acc[r][c] = _mm512_loadu_ps(out + r * kColumns + c * 16);
  for (int64_t first = 0; first < num_pairs; first += kInt4GroupSteps, packed += kInt4Group_bytes) {
    __m512i sums[R][2] = {};
    const std::byte* line = packed + kInt4Scales_bytes;
    for (int64_t j = group_size(first, num_pairs); j > 0; --j, x += R, line += kLine_bytes)
      add_pair(x, columns(line), columns(line + 16), sums);
#pragma GCC unroll 2
    for (int c = 0; c < 2; ++c) {
      const __m512 scales = int4_scales(packed + 32 * c);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) acc[r][c] = acc[r][c] + _mm512_maskz_cvtepi32_ps(0xffff, sums[r][c]) * scales;
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < 2; ++c) _mm512_storeu_ps(out + r * kColumns + c * 16, acc[r][c]);
}

void direct(int rows, const void* x, const void* packed, int64_t num_pairs, float* acc) {
  static constexpr void (*kTiles[kDirectRows])(const std::uint32_t*, const std::byte*, int64_t, float*) = {
      direct_rows<1>, direct_rows<2>, direct_rows<3>, direct_rows<4>,
      direct_rows<5>, direct_rows<6>, direct_rows<7>, direct_rows<8>};
  kTiles[rows - 1](static_cast<const std::uint32_t*>(x), static_cast<const std::byte*>(packed), num_pairs, acc);
}

}  // namespace

constexpr Product kAvx512Int4x16 = int4x16_product<expand, tile>(kRows, kDirectRows, make_int16_pairs, direct);
static_assert(rows_fit(kAvx512Int4x16));

}  // namespace moesaic::cpu
