#include <immintrin.h>

#include "capped_weights_avx512.hpp"
#include "integers.hpp"

/// w8i16's products of int16 by int16 with AVX-512 VNNI: matrices (the head's table) in tiles of 6 rows x 32 columns,
/// attention in tiles of 3 queries x 64 columns, 24 accumulators each. The rows or queries are split into two planes
/// (PlanePair), so that vpdpwssd's int32 sums hold a few hundred products; 256 high + low is exact in double.
namespace moesaic::cpu {
namespace {

constexpr int kRows = 6, kQueries = 3, kLine_bytes = 128;
constexpr int64_t kMostSteps = 256;  ///< of pairs that are added up in int32: 127 * 32639 * 512 < 2^31

/// acc += a . b over pairs of int16. As assembly, because gcc 12 copies the accumulator of the intrinsic.
MOESAIC_INLINE void dot(__m512i& acc, __m512i a, __m512i b) { asm("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b)); }
MOESAIC_INLINE __m512i broadcast(const std::uint32_t* pair) { return _mm512_set1_epi32(static_cast<int>(*pair)); }

/// acc(R, two planes, 16 C columns) += x . w over the pairs j: planes of row r at x[2 (r x_row + j x_pair)], w(j, c)
/// at w[j w_pair + c]. Prefetches 128 bytes of `next` a pair.
template <int R, int C>
MOESAIC_INLINE void multiply(const std::uint32_t* x, int64_t x_row, int64_t x_pair, const __m512i* w, int64_t w_pair,
                             int64_t num_pairs, __m512i (&acc)[R][2][C], const char* next = nullptr) {
  for (int64_t j = 0; j < num_pairs; ++j, x += 2 * x_pair, w += w_pair) {
    if (next) {
      _mm_prefetch(next + j * kLine_bytes, _MM_HINT_T0);
      _mm_prefetch(next + j * kLine_bytes + 64, _MM_HINT_T0);
    }
    __m512i v[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) v[c] = _mm512_loadu_si512(w + c);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int plane = 0; plane < 2; ++plane) {
        const __m512i b = broadcast(x + 2 * r * x_row + plane);
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) dot(acc[r][plane][c], v[c], b);
      }
  }
}

/// 256 high + low for eight columns: half 0 or 1 of the vectors.
template <int kHalf>
MOESAIC_INLINE __m512d exact(__m512i high, __m512i low) {
  const auto widened = [](__m512i v) {
    return _mm512_maskz_cvtepi32_pd(0xff, _mm512_maskz_extracti64x4_epi64(0xff, v, kHalf));
  };
  return _mm512_set1_pd(256.0) * widened(high) + widened(low);
}
/// The same, rounded to fp32 once, for 16 columns.
MOESAIC_INLINE __m512 rounded(__m512i high, __m512i low) {
  const __m256 lower = _mm512_maskz_cvtpd_ps(0xff, exact<0>(high, low)),
               upper = _mm512_maskz_cvtpd_ps(0xff, exact<1>(high, low));
  return _mm512_maskz_insertf32x8(0xffff, _mm512_castps256_ps512(lower), upper, 1);
}

template <int R>
void matrix_rows(const std::uint32_t* x, const __m512i* lines, int64_t num_steps, double* out, const char* next) {
  for (int64_t first = 0; first < num_steps; first += kMostSteps) {
    const int64_t steps = num_steps - first < kMostSteps ? num_steps - first : kMostSteps;
    __m512i acc[R][2][2] = {};
    multiply<R, 2>(x + 2 * first * R, 1, R, lines + 2 * first, 2, steps, acc,
                   next ? next + first * kLine_bytes : nullptr);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int c = 0; c < 2; ++c) {
        double* at = out + r * kColumns + c * 16;
        _mm512_storeu_pd(at, _mm512_loadu_pd(at) + exact<0>(acc[r][0][c], acc[r][1][c]));
        _mm512_storeu_pd(at + 8, _mm512_loadu_pd(at + 8) + exact<1>(acc[r][0][c], acc[r][1][c]));
      }
  }
}

void tile(int rows, const void* x, const void* lines, int64_t num_steps, float* acc, const void* next) {
  static constexpr void (*kTiles[kRows])(const std::uint32_t*, const __m512i*, int64_t, double*, const char*) = {
      matrix_rows<1>, matrix_rows<2>, matrix_rows<3>, matrix_rows<4>, matrix_rows<5>, matrix_rows<6>};
  kTiles[rows - 1](static_cast<const std::uint32_t*>(x), static_cast<const __m512i*>(lines), num_steps,
                   reinterpret_cast<double*>(acc), static_cast<const char*>(next));
}

template <int R>
void score_rows(const std::uint32_t* q, const float* q_scales, const Page& page, int64_t num_pairs, float* out) {
  __m512i acc[R][2][4] = {};
  multiply<R, 4>(q, num_pairs, 1, reinterpret_cast<const __m512i*>(page.keys), 4, num_pairs, acc);
#pragma GCC unroll 3
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      const __m512 sum = rounded(acc[r][0][c], acc[r][1][c]) * _mm512_set1_ps(q_scales[r]);
      _mm512_storeu_ps(out + r * kKeys + c * 16, sum * _mm512_loadu_ps(page.key_scales + c * 16));
    }
}

template <int R, int C>
MOESAIC_INLINE void value_columns(const std::uint32_t* p, const float* p_scales, const __m512i* values,
                                  int64_t value_stride, float* out) {
  __m512i acc[R][2][C] = {};
  multiply<R, C>(p, kKeys / 2, 1, values, value_stride / 16, kKeys / 2, acc);
#pragma GCC unroll 3
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      float* at = out + r * value_stride + c * 16;
      _mm512_storeu_ps(at, _mm512_loadu_ps(at) + rounded(acc[r][0][c], acc[r][1][c]) * _mm512_set1_ps(p_scales[r]));
    }
}

template <int R>
void value_rows(const std::uint32_t* p, const float* p_scales, const Page& page, int64_t value_stride, float* out) {
  const auto* values = reinterpret_cast<const __m512i*>(page.values);
  int64_t column = 0;
  for (; column + 64 <= value_stride; column += 64)
    value_columns<R, 4>(p, p_scales, values + column / 16, value_stride, out + column);
  for (; column < value_stride; column += 16)
    value_columns<R, 1>(p, p_scales, values + column / 16, value_stride, out + column);
}

using BlockTile = void (*)(const std::uint32_t*, const float*, const Page&, int64_t, float*);

void scores(int queries, const void* q, const float* q_scales, const Page& page, int64_t num_pairs, float* out) {
  static constexpr BlockTile kTiles[kQueries] = {score_rows<1>, score_rows<2>, score_rows<3>};
  kTiles[queries - 1](static_cast<const std::uint32_t*>(q), q_scales, page, num_pairs, out);
}

void values(int queries, const void* p, const float* p_scales, const Page& page, int64_t value_stride, float* out) {
  static constexpr BlockTile kTiles[kQueries] = {value_rows<1>, value_rows<2>, value_rows<3>};
  kTiles[queries - 1](static_cast<const std::uint32_t*>(p), p_scales, page, value_stride, out);
}

/// What int16_weights<make_plane_pairs> gives.
float weights_of_keys(const float* scores, int visible, const math::CappedSoftmax& softmax, const Page& page, void* out,
                      float* scale) {
  __m512 weights[kVectors];
  capped_weights(scores, visible, softmax, weights);
  float p[kKeys];
  std::memcpy(p, weights, sizeof(p));
  std::int16_t q[kKeys];
  *scale = quantise_weights(p, visible, page, q);
  make_plane_pairs(q, kKeys, out, 1);
  return sum_of_weights(p);
}

}  // namespace

constexpr Product kAvx512Int16x16 = {.inputs = DType::kInt16,
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
static_assert(rows_fit(kAvx512Int16x16));

constexpr Attention kAvx512Int16Attention = {.pair_bytes = sizeof(PlanePair),
                                             .tile_queries = kQueries,
                                             .make_pairs = make_plane_pairs,
                                             .write_kv = write_kv_int16,
                                             .scores = scores,
                                             .weights_of_keys = weights_of_keys,
                                             .values = values};

}  // namespace moesaic::cpu
