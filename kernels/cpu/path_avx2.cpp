#include <immintrin.h>

#include "elementwise.hpp"

/// w8a16 with AVX2 and FMA: tile of up to 6 rows x 16 columns, 12 accumulators; a vector holds 8 columns. Inputs are
/// floats, so that one broadcast load gives a factor; weights are pairs of bf16, split into the odd and the even floats
/// by one operation each.
namespace moesaic::cpu {
namespace {

constexpr int kRows = 6;

MOESAIC_INLINE __m256 odd_of(__m256i pairs) {
  return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
}
MOESAIC_INLINE __m256 even_of(__m256i pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)); }
MOESAIC_INLINE __m256i load(const __m256i* at) { return _mm256_loadu_si256(at); }

/// acc(R, 8 C columns) += x . w over the pairs j: x[r * x_row + j * x_pair], w[j * w_pair + c].
template <int R, int C>
MOESAIC_INLINE void multiply(const F32Pair* x, int64_t x_row, int64_t x_pair, const __m256i* w, int64_t w_pair,
                             int64_t num_pairs, __m256 (&acc)[R][C]) {
  for (int64_t j = 0; j < num_pairs; ++j, x += x_pair, w += w_pair) {
    __m256 v[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) v[c] = odd_of(load(w + c));
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m256 b = _mm256_broadcast_ss(&x[r * x_row].odd);
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) acc[r][c] = _mm256_fmadd_ps(b, v[c], acc[r][c]);
    }
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) v[c] = even_of(load(w + c));
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m256 b = _mm256_broadcast_ss(&x[r * x_row].even);
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) acc[r][c] = _mm256_fmadd_ps(b, v[c], acc[r][c]);
    }
  }
}

template <int R>
void tile_rows(const F32Pair* x, const __m256i* lines, int64_t num_pairs, float* out) {
  for (int half = 0; half < 2; ++half) {
    __m256 acc[R][2];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
      for (int c = 0; c < 2; ++c) acc[r][c] = _mm256_loadu_ps(out + r * kColumns + half * 16 + c * 8);
    multiply<R, 2>(x, 1, R, lines + half * 2, 4, num_pairs, acc);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
      for (int c = 0; c < 2; ++c) _mm256_storeu_ps(out + r * kColumns + half * 16 + c * 8, acc[r][c]);
  }
}

template <int R>
void score_rows(const F32Pair* q, const __m256i* keys, int64_t num_pairs, float* out) {
  for (int part = 0; part < kKeys / 16; ++part) {
    __m256 acc[R][2] = {};
    multiply<R, 2>(q, num_pairs, 1, keys + part * 2, kKeys / 8, num_pairs, acc);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
      for (int c = 0; c < 2; ++c) _mm256_storeu_ps(out + r * kKeys + part * 16 + c * 8, acc[r][c]);
  }
}

template <int R>
void value_rows(const F32Pair* p, const __m256i* values, int64_t value_stride, float* out) {
  for (int64_t column = 0; column < value_stride; column += 16) {
    __m256 acc[R][2] = {};
    multiply<R, 2>(p, kKeys / 2, 1, values + column / 8, value_stride / 8, kKeys / 2, acc);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
      for (int c = 0; c < 2; ++c) {
        float* at = out + r * value_stride + column + c * 8;
        _mm256_storeu_ps(at, _mm256_add_ps(_mm256_loadu_ps(at), acc[r][c]));
      }
  }
}

/// 16 packed weights (4 columns of the panel's first half, 4 of the second, 2 inputs each) to pairs of bf16: as floats,
/// whose lower halves are zero.
MOESAIC_INLINE __m256i bf16_pairs(const std::int8_t* packed) {
  const __m256i words = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(packed)));
  const __m256i odd = _mm256_srai_epi32(words, 16), even = _mm256_srai_epi32(_mm256_slli_epi32(words, 16), 16);
  return _mm256_or_si256(_mm256_castps_si256(_mm256_cvtepi32_ps(odd)),
                         _mm256_srli_epi32(_mm256_castps_si256(_mm256_cvtepi32_ps(even)), 16));
}

/// A group's first half goes to the line's first 16 columns, its second half to the others.
MOESAIC_INLINE void store_group(__m256i pairs, int group, __m128i* line) {
  _mm_storeu_si128(line + group, _mm256_castsi256_si128(pairs));
  _mm_storeu_si128(line + 4 + group, _mm256_extracti128_si256(pairs, 1));
}

void expand_int8(const void* packed, int64_t num_lines, void* lines) {
  const auto* in = static_cast<const std::int8_t*>(packed);
  auto* out = static_cast<__m128i*>(lines);
  for (int64_t j = 0; j < num_lines; ++j, in += 64, out += 8)
#pragma GCC unroll 4
    for (int group = 0; group < 4; ++group) store_group(bf16_pairs(in + group * 16), group, out);
}

void expand_bf16(const void* packed, int64_t num_lines, void* lines) {
  const auto* in = static_cast<const __m256i*>(packed);
  auto* out = static_cast<__m128i*>(lines);
  for (int64_t j = 0; j < num_lines; ++j, in += 4, out += 8)
#pragma GCC unroll 4
    for (int group = 0; group < 4; ++group) store_group(load(in + group), group, out);
}

void tile(int rows, const void* x, const void* lines, int64_t num_pairs, float* acc, const void*) {
  static constexpr void (*kTiles[])(const F32Pair*, const __m256i*, int64_t, float*) = {
      tile_rows<1>, tile_rows<2>, tile_rows<3>, tile_rows<4>, tile_rows<5>, tile_rows<6>};
  kTiles[rows - 1](static_cast<const F32Pair*>(x), static_cast<const __m256i*>(lines), num_pairs, acc);
}

void scores(int queries, const void* q, const void* keys, int64_t num_pairs, float* out) {
  static constexpr void (*kTiles[])(const F32Pair*, const __m256i*, int64_t, float*) = {
      score_rows<1>, score_rows<2>, score_rows<3>, score_rows<4>, score_rows<5>, score_rows<6>};
  kTiles[queries - 1](static_cast<const F32Pair*>(q), static_cast<const __m256i*>(keys), num_pairs, out);
}

void values(int queries, const void* p, const void* page, int64_t value_stride, float* out) {
  static constexpr void (*kTiles[])(const F32Pair*, const __m256i*, int64_t, float*) = {
      value_rows<1>, value_rows<2>, value_rows<3>, value_rows<4>, value_rows<5>, value_rows<6>};
  kTiles[queries - 1](static_cast<const F32Pair*>(p), static_cast<const __m256i*>(page), value_stride, out);
}

}  // namespace

const Path kAvx2Path = {
    .act_bytes = 2, .pair_bytes = sizeof(F32Pair), .line_bytes = 4 * kColumns,
    .tile_rows = kRows, .direct_rows = 0, .tile_queries = kRows,
    .make_pairs = make_pairs<Bf16Act, F32Pair>, .expand_int8 = expand_int8, .expand_act = expand_bf16,
    .tile = tile, .direct_int8 = nullptr, .direct_act = nullptr,
    .scale_leaf = scale_leaf, .add_left = add_left, .gated_gelu = gated_gelu<Bf16Act>,
    .write_kv = write_kv_bf16, .scores = scores, .weights = weights<Bf16Act, F32Pair>, .values = values,
    .finish_head = finish_head<Bf16Act>,
    .rms_norm = rms_norm, .to_activation = to_activation<Bf16Act>, .from_activation = from_activation<Bf16Act>,
    .rope = rope, .router_logits = router_logits};

}  // namespace moesaic::cpu
