#include <immintrin.h>

#include "integers.hpp"

/// Products with int8 matrices with AVX-512 VNNI: tiles of 12 rows x 32 columns, 24 accumulators; vpdpbusd does four
/// inputs for 16 columns. It multiplies unsigned by signed bytes, so the weights are shifted by 128 (their
/// sign bit is flipped) and scale_leaf takes 128 times the sum of the inputs back. Sums of w8a8 may wrap around
/// before that, never after it. A row of int16 inputs is two rows of int8 (PlaneQuad).
namespace moesaic::cpu {
namespace {

constexpr int kRows = 12;
constexpr int kLine_bytes = 128;  ///< of packed lines

/// acc += w . x for four inputs, w unsigned, x signed. As assembly, because gcc 12 copies the accumulator of
/// the intrinsic to another register and back.
MOESAIC_INLINE void dot(__m512i& acc, __m512i w, __m512i x) { asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(w), "v"(x)); }
MOESAIC_INLINE __m512i broadcast(const std::uint32_t* step) { return _mm512_set1_epi32(static_cast<int>(*step)); }

/// The 32 columns of a step.
struct Line {
  __m512i columns[2];
};

/// A packed line: 16 neighbouring columns a vector, each with its four inputs.
MOESAIC_INLINE Line expanded(const std::byte* packed) {
  const __m512i sign = _mm512_set1_epi8(-128);
  return {
      {_mm512_xor_si512(_mm512_loadu_si512(packed), sign), _mm512_xor_si512(_mm512_loadu_si512(packed + 64), sign)}};
}

void expand(const void* packed, int64_t num_steps, void* lines) {
  const auto* in = static_cast<const std::byte*>(packed);
  auto* out = static_cast<__m512i*>(lines);
  for (int64_t j = 0; j < num_steps; ++j, in += kLine_bytes, out += 2) {
    const Line line = expanded(in);
    _mm512_store_si512(out, line.columns[0]);
    _mm512_store_si512(out + 1, line.columns[1]);
  }
}

template <int R>
MOESAIC_INLINE void load(const float* from, __m512i (&acc)[R][2]) {
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < 2; ++c) acc[r][c] = _mm512_loadu_si512(from + r * kColumns + c * 16);
}
template <int R>
MOESAIC_INLINE void store(const __m512i (&acc)[R][2], float* to) {
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < 2; ++c) _mm512_storeu_si512(to + r * kColumns + c * 16, acc[r][c]);
}
template <int R>
MOESAIC_INLINE void add_step(const std::uint32_t* x, const Line& w, __m512i (&acc)[R][2]) {
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    const __m512i b = broadcast(x + r);
    dot(acc[r][0], w.columns[0], b);
    dot(acc[r][1], w.columns[1], b);
  }
}

template <int R>
void tile_rows(const std::uint32_t* x, const __m512i* lines, int64_t num_steps, float* out, const char* next) {
  __m512i acc[R][2];
  load(out, acc);
  for (int64_t j = 0; j < num_steps; ++j, x += R, lines += 2) {
    if (next) {
      _mm_prefetch(next + j * kLine_bytes, _MM_HINT_T0);
      _mm_prefetch(next + j * kLine_bytes + 64, _MM_HINT_T0);
    }
    add_step(x, {{_mm512_load_si512(lines), _mm512_load_si512(lines + 1)}}, acc);
  }
  store(acc, out);
}

/// Few rows: weights come from memory and are used at once, which the processor prefetches best by itself (measured).
template <int R>
void direct_rows(const std::uint32_t* x, const std::byte* packed, int64_t num_steps, float* out) {
  __m512i acc[R][2];
  load(out, acc);
  for (int64_t j = 0; j < num_steps; ++j, x += R, packed += kLine_bytes) add_step(x, expanded(packed), acc);
  store(acc, out);
}

void tile(int rows, const void* x, const void* lines, int64_t num_steps, float* acc, const void* next) {
  static constexpr void (*kTiles[kRows])(const std::uint32_t*, const __m512i*, int64_t, float*, const char*) = {
      tile_rows<1>, tile_rows<2>, tile_rows<3>, tile_rows<4>,  tile_rows<5>,  tile_rows<6>,
      tile_rows<7>, tile_rows<8>, tile_rows<9>, tile_rows<10>, tile_rows<11>, tile_rows<12>};
  kTiles[rows - 1](static_cast<const std::uint32_t*>(x), static_cast<const __m512i*>(lines), num_steps, acc,
                   static_cast<const char*>(next));
}

void direct(int rows, const void* x, const void* packed, int64_t num_steps, float* acc) {
  static constexpr void (*kTiles[kRows])(const std::uint32_t*, const std::byte*, int64_t, float*) = {
      direct_rows<1>, direct_rows<2>, direct_rows<3>, direct_rows<4>,  direct_rows<5>,  direct_rows<6>,
      direct_rows<7>, direct_rows<8>, direct_rows<9>, direct_rows<10>, direct_rows<11>, direct_rows<12>};
  kTiles[rows - 1](static_cast<const std::uint32_t*>(x), static_cast<const std::byte*>(packed), num_steps, acc);
}

/// 256 high + low - 128 sum of 16 columns, rounded to fp32 once. As 256 a + b with |b| < 256 it is one fma where a is a
/// float without rounding, |a| <= 2^24; larger sums, which rows of more than 1,028 inputs may have, go by double.
MOESAIC_INLINE __m512 rounded(__m512i high, __m512i low, std::int32_t sum) {
  constexpr __mmask16 kAll = 0xffff;
  const __m512i a = _mm512_sub_epi32(_mm512_add_epi32(high, _mm512_maskz_srai_epi32(kAll, low, 8)),
                                     _mm512_set1_epi32(sum >> 1)),
                b = _mm512_sub_epi32(_mm512_and_si512(low, _mm512_set1_epi32(255)), _mm512_set1_epi32((sum & 1) * 128));
  const __m512i magnitude = _mm512_maskz_abs_epi32(kAll, a);
  if (_mm512_cmpgt_epi32_mask(magnitude, _mm512_set1_epi32(1 << 24)) == 0) [[likely]]
    return _mm512_fmadd_ps(_mm512_maskz_cvtepi32_ps(kAll, a), _mm512_set1_ps(256.0f),
                           _mm512_maskz_cvtepi32_ps(kAll, b));
  std::int32_t parts[2][16];
  _mm512_storeu_si512(parts[0], a);
  _mm512_storeu_si512(parts[1], b);
  float whole[16];
  for (int c = 0; c < 16; ++c)
    whole[c] = static_cast<float>(256.0 * static_cast<double>(parts[0][c]) + static_cast<double>(parts[1][c]));
  return _mm512_loadu_ps(whole);
}

/// From sums of the two planes, (rows, 2, 32) int32.
void scale_planes_leaf(const float* scales, const LeafScale* inputs, std::size_t input_stride_bytes, int rows,
                       const void* acc, float* leaf) {
  const auto* input = reinterpret_cast<const char*>(inputs);
  const auto* high = static_cast<const std::int32_t*>(acc);
  for (int row = 0; row < rows; ++row, input += input_stride_bytes, leaf += kColumns, high += 2 * kColumns) {
    LeafScale x;
    std::memcpy(&x, input, sizeof(x));
#pragma GCC unroll 2
    for (int c = 0; c < kColumns; c += 16) {
      const __m512 sum = rounded(_mm512_loadu_si512(high + c), _mm512_loadu_si512(high + kColumns + c), x.sum);
      _mm512_storeu_ps(leaf + c, (sum * _mm512_set1_ps(x.scale)) * _mm512_loadu_ps(scales + c));
    }
  }
}

void plane_tile(int rows, const void* x, const void* lines, int64_t num_steps, float* acc, const void* next) {
  tile(2 * rows, x, lines, num_steps, acc, next);
}
void plane_direct(int rows, const void* x, const void* packed, int64_t num_steps, float* acc) {
  direct(2 * rows, x, packed, num_steps, acc);
}

}  // namespace

constexpr Product kAvx512Int8 = {.inputs = DType::kInt8,
                                 .step_inputs = 4,
                                 .step_bytes = sizeof(Quad<std::int8_t>),
                                 .line_bytes = kLine_bytes,
                                 .tile_rows = kRows,
                                 .direct_rows = kRows,
                                 .make_steps = make_quads<std::int8_t>,
                                 .expand = expand,
                                 .tile = tile,
                                 .direct = direct,
                                 .scale_leaf = scale_int8_leaf<128>};
constexpr Product kAvx512Int8x16 = {.inputs = DType::kInt16,
                                    .step_inputs = 4,
                                    .step_bytes = sizeof(PlaneQuad),
                                    .line_bytes = kLine_bytes,
                                    .acc_bytes = 2 * sizeof(std::int32_t),
                                    .tile_rows = kRows / 2,
                                    .direct_rows = kRows / 2,
                                    .make_steps = make_plane_quads,
                                    .expand = expand,
                                    .tile = plane_tile,
                                    .direct = plane_direct,
                                    .scale_leaf = scale_planes_leaf};
static_assert(rows_fit(kAvx512Int8) && rows_fit(kAvx512Int8x16));

}  // namespace moesaic::cpu
