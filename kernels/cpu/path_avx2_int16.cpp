#include <immintrin.h>

#include "int4.hpp"
#include "integers.hpp"

/// Products of int16 by int16 (w8i16: the head, attention) and of int16 by int4 (w4i16) with AVX2: tiles of 3 rows (or
/// queries) x 16 columns, 12 accumulators; a vector holds a pair of 8 columns. The rows are split into two planes
/// (PlanePair), so that vpmaddwd's int32 sums hold a few hundred products; 256 high + low is exact in double.
namespace moesaic::cpu {
namespace {

constexpr int kRows = 3, kLine_bytes = 128;
constexpr int64_t kMostSteps = 256;  ///< of pairs that are added up in int32: 127 * 32639 * 512 < 2^31

MOESAIC_INLINE void dot(__m256i& acc, __m256i w, __m256i x) { acc = _mm256_add_epi32(acc, _mm256_madd_epi16(w, x)); }
MOESAIC_INLINE __m256i broadcast(const std::int16_t* pair) {
  std::int32_t both;
  std::memcpy(&both, pair, sizeof(both));
  return _mm256_set1_epi32(both);
}

/// acc(R, two planes, 16 columns) += x . w over the pairs j: x[r x_row + j x_pair], w[j w_pair] and the vector behind.
template <int R>
MOESAIC_INLINE void multiply(const PlanePair* x, int64_t x_row, int64_t x_pair, const __m256i* w, int64_t w_pair,
                             int64_t num_pairs, __m256i (&acc)[R][2][2]) {
  for (int64_t j = 0; j < num_pairs; ++j, x += x_pair, w += w_pair) {
    const __m256i first = _mm256_loadu_si256(w), second = _mm256_loadu_si256(w + 1);
#pragma GCC unroll 3
    for (int r = 0; r < R; ++r) {
      const __m256i high = broadcast(x[r * x_row].high), low = broadcast(x[r * x_row].low);
      dot(acc[r][0][0], first, high);
      dot(acc[r][0][1], second, high);
      dot(acc[r][1][0], first, low);
      dot(acc[r][1][1], second, low);
    }
  }
}

/// 256 high + low for four columns: half 0 or 1 of the vectors.
template <int kHalf>
MOESAIC_INLINE __m256d exact(__m256i high, __m256i low) {
  return _mm256_set1_pd(256.0) * _mm256_cvtepi32_pd(_mm256_extracti128_si256(high, kHalf)) +
         _mm256_cvtepi32_pd(_mm256_extracti128_si256(low, kHalf));
}
/// The same, rounded to fp32 once, for 8 columns.
MOESAIC_INLINE __m256 rounded(__m256i high, __m256i low) {
  return _mm256_set_m128(_mm256_cvtpd_ps(exact<1>(high, low)), _mm256_cvtpd_ps(exact<0>(high, low)));
}

template <int R>
void matrix_rows(const PlanePair* x, const __m256i* lines, int64_t num_steps, double* out) {
  for (int half = 0; half < 2; ++half)
    for (int64_t first = 0; first < num_steps; first += kMostSteps) {
      const int64_t steps = num_steps - first < kMostSteps ? num_steps - first : kMostSteps;
      __m256i acc[R][2][2] = {};
      multiply<R>(x + first * R, 1, R, lines + 4 * first + 2 * half, 4, steps, acc);
#pragma GCC unroll 3
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
        for (int c = 0; c < 2; ++c) {
          double* at = out + r * kColumns + half * 16 + c * 8;
          _mm256_storeu_pd(at, _mm256_loadu_pd(at) + exact<0>(acc[r][0][c], acc[r][1][c]));
          _mm256_storeu_pd(at + 4, _mm256_loadu_pd(at + 4) + exact<1>(acc[r][0][c], acc[r][1][c]));
        }
    }
}

void tile(int rows, const void* x, const void* lines, int64_t num_steps, float* acc, const void* next) {
  static constexpr void (*kTiles[kRows])(const PlanePair*, const __m256i*, int64_t, double*) = {
      matrix_rows<1>, matrix_rows<2>, matrix_rows<3>};
  if (const auto* ahead = static_cast<const char*>(next))
    for (int64_t at = 0; at < num_steps * kLine_bytes; at += 64) _mm_prefetch(ahead + at, _MM_HINT_T1);
  kTiles[rows - 1](static_cast<const PlanePair*>(x), static_cast<const __m256i*>(lines), num_steps,
                   reinterpret_cast<double*>(acc));
}

/// int4 lines as pairs of int16, 8 neighbouring columns a vector. Each half of a 32-bit word holds four columns'
/// inputs.
void expand_int4(const void* packed, int64_t num_lines, void* lines) {
  const auto* in = static_cast<const __m256i*>(packed);
  auto* out = static_cast<__m128i*>(lines);
  for (int64_t j = 0; j < num_lines; ++j, ++in, out += 8) {
    const __m256i words = _mm256_loadu_si256(in);
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) {  // 4 columns of the panel's first half and 4 of the second
      const __m256i pairs = _mm256_srai_epi16(_mm256_slli_epi16(words, 12 - 4 * g), 12);
      _mm_store_si128(out + g, _mm256_castsi256_si128(pairs));
      _mm_store_si128(out + 4 + g, _mm256_extracti128_si256(pairs, 1));
    }
  }
}

constexpr int kInt4Rows = 6;

template <int R>
void int4_rows(const Int16Pair* x, const __m256i* lines, int64_t num_pairs, std::int32_t* out) {
  for (int half = 0; half < 2; ++half) {
    __m256i acc[R][2] = {};
    for (int64_t j = 0; j < num_pairs; ++j) {
      const __m256i first = _mm256_load_si256(lines + 4 * j + 2 * half),
                    second = _mm256_load_si256(lines + 4 * j + 2 * half + 1);
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
        const __m256i b = broadcast(x[j * R + r].inputs);
        dot(acc[r][0], first, b);
        dot(acc[r][1], second, b);
      }
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int c = 0; c < 2; ++c)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + r * kColumns + half * 16 + c * 8), acc[r][c]);
  }
}

/// acc(rows, 32) in int32, of one group, which begins with zeros.
void int4_tile(int rows, const void* x, const void* lines, int64_t num_pairs, float* acc, const void*) {
  static constexpr void (*kTiles[kInt4Rows])(const Int16Pair*, const __m256i*, int64_t, std::int32_t*) = {
      int4_rows<1>, int4_rows<2>, int4_rows<3>, int4_rows<4>, int4_rows<5>, int4_rows<6>};
  kTiles[rows - 1](static_cast<const Int16Pair*>(x), static_cast<const __m256i*>(lines), num_pairs,
                   reinterpret_cast<std::int32_t*>(acc));
}

template <int R>
void score_rows(const PlanePair* q, const float* q_scales, const Page& page, int64_t num_pairs, float* out) {
  for (int part = 0; part < kKeys / 16; ++part) {
    __m256i acc[R][2][2] = {};
    multiply<R>(q, num_pairs, 1, reinterpret_cast<const __m256i*>(page.keys) + part * 2, kKeys / 8, num_pairs, acc);
#pragma GCC unroll 3
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int c = 0; c < 2; ++c) {
        const int key = part * 16 + c * 8;
        const __m256 sum = rounded(acc[r][0][c], acc[r][1][c]) * _mm256_set1_ps(q_scales[r]);
        _mm256_storeu_ps(out + r * kKeys + key, sum * _mm256_loadu_ps(page.key_scales + key));
      }
  }
}

template <int R>
void value_rows(const PlanePair* p, const float* p_scales, const Page& page, int64_t value_stride, float* out) {
  for (int64_t column = 0; column < value_stride; column += 16) {
    __m256i acc[R][2][2] = {};
    multiply<R>(p, kKeys / 2, 1, reinterpret_cast<const __m256i*>(page.values) + column / 8, value_stride / 8,
                kKeys / 2, acc);
#pragma GCC unroll 3
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int c = 0; c < 2; ++c) {
        float* at = out + r * value_stride + column + c * 8;
        _mm256_storeu_ps(at, _mm256_loadu_ps(at) + rounded(acc[r][0][c], acc[r][1][c]) * _mm256_set1_ps(p_scales[r]));
      }
  }
}

using BlockTile = void (*)(const PlanePair*, const float*, const Page&, int64_t, float*);

void scores(int queries, const void* q, const float* q_scales, const Page& page, int64_t num_pairs, float* out) {
  static constexpr BlockTile kTiles[kRows] = {score_rows<1>, score_rows<2>, score_rows<3>};
  kTiles[queries - 1](static_cast<const PlanePair*>(q), q_scales, page, num_pairs, out);
}

void values(int queries, const void* p, const float* p_scales, const Page& page, int64_t value_stride, float* out) {
  static constexpr BlockTile kTiles[kRows] = {value_rows<1>, value_rows<2>, value_rows<3>};
  kTiles[queries - 1](static_cast<const PlanePair*>(p), p_scales, page, value_stride, out);
}

}  // namespace

constexpr Product kAvx2Int16x16 = {.inputs = DType::kInt16,
                                   .step_inputs = 2,
                                   .step_bytes = sizeof(PlanePair),
                                   .line_bytes = kLine_bytes,
                                   .acc_bytes = sizeof(double),
                                   .tile_rows = kRows,
                                   .direct_rows = kRows,
                                   .make_steps = make_plane_pairs,
                                   .expand = copy_lines,
                                   .tile = tile,
                                   .direct = direct_tile<tile>,
                                   .scale_leaf = scale_exact_leaf};
constexpr Product kAvx2Int4x16 = int4x16_product<expand_int4, int4_tile>(kInt4Rows, 0, make_int16_pairs, nullptr);
static_assert(rows_fit(kAvx2Int16x16) && rows_fit(kAvx2Int4x16));

constexpr Attention kAvx2Int16Attention = {.pair_bytes = sizeof(PlanePair),
                                           .tile_queries = kRows,
                                           .make_pairs = make_plane_pairs,
                                           .write_kv = write_kv_int16,
                                           .scores = scores,
                                           .weights_of_keys = int16_weights<make_plane_pairs>,
                                           .values = values};

}  // namespace moesaic::cpu
