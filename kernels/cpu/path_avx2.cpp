#include <immintrin.h>

#include "int4.hpp"

/// w8a16 with AVX2 and FMA: tile of up to 6 rows x 16 columns, 12 accumulators; a vector holds 8 columns.
/// Inputs are floats, so that one broadcast load gives a factor; weights are pairs of bf16, split into the
/// odd and the even floats by one operation each.
namespace moesaic::cpu {
namespace {

constexpr int kRows = 6, kDirectRows = 3;

MOESAIC_INLINE __m256 odd_of(__m256i pairs) {
  return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
}
MOESAIC_INLINE __m256 even_of(__m256i pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)); }
/// acc += a * b. As assembly, because gcc 12 otherwise lets the factor's register take the sum and spills the
/// others.
MOESAIC_INLINE void fma(__m256& acc, __m256 a, __m256 b) { asm("vfmadd231ps %2, %1, %0" : "+x"(acc) : "x"(a), "x"(b)); }
MOESAIC_INLINE __m256i load(const __m256i* at) { return _mm256_loadu_si256(at); }

/// acc(R, 8 C columns) += x . w over the pairs j: x[r * x_row + j * x_pair], w[j * w_pair + c].
/// Prefetches 64 bytes of `next` a pair.
template <int R, int C>
MOESAIC_INLINE void multiply(const F32Pair* x, int64_t x_row, int64_t x_pair, const __m256i* w, int64_t w_pair,
                             int64_t num_pairs, __m256 (&acc)[R][C], const char* next = nullptr) {
  for (int64_t j = 0; j < num_pairs; ++j, x += x_pair, w += w_pair) {
    if (next) _mm_prefetch(next + j * 64, _MM_HINT_T0);
    __m256 v[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) v[c] = odd_of(load(w + c));
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m256 b = _mm256_broadcast_ss(&x[r * x_row].odd);
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) fma(acc[r][c], v[c], b);
    }
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) v[c] = even_of(load(w + c));
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m256 b = _mm256_broadcast_ss(&x[r * x_row].even);
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) fma(acc[r][c], v[c], b);
    }
  }
}

template <int R>
void tile_rows(const F32Pair* x, const __m256i* lines, int64_t num_pairs, float* out, const char* next) {
  for (int half = 0; half < 2; ++half) {
    __m256 acc[R][2];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int c = 0; c < 2; ++c) acc[r][c] = _mm256_loadu_ps(out + r * kColumns + half * 16 + c * 8);
    multiply<R, 2>(x, 1, R, lines + half * 2, 4, num_pairs, acc, half == 0 ? next : nullptr);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
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
#pragma GCC unroll 2
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
#pragma GCC unroll 2
      for (int c = 0; c < 2; ++c) {
        float* at = out + r * value_stride + column + c * 8;
        _mm256_storeu_ps(at, _mm256_add_ps(_mm256_loadu_ps(at), acc[r][c]));
      }
  }
}

/// A group g of a packed line, 4 columns of the panel's first half and 4 of the second, as two vectors of
/// floats.
struct Group {
  __m256 odd, even;
};
struct Int8Weights {
  static constexpr int kLine_bytes = 64;
  MOESAIC_INLINE static Group load(const std::byte* line, int g) {
    const __m128i w = _mm_loadu_si128(reinterpret_cast<const __m128i*>(line) + g);
    const __m128i negative = _mm_cmplt_epi8(w, _mm_setzero_si128());
    const __m128i magnitude = _mm_and_si128(w, _mm_set1_epi8(127));
    const __m128i lowest = _mm_cmpeq_epi8(w, _mm_set1_epi8(-128));  // its magnitude is written as 0
    const __m128i value = _mm_or_si128(_mm_sub_epi8(_mm_xor_si128(magnitude, negative), negative),
                                       _mm_and_si128(lowest, _mm_set1_epi8(-128)));
    const __m256i pairs = _mm256_cvtepi8_epi16(value);
    return {_mm256_cvtepi32_ps(_mm256_srai_epi32(pairs, 16)),
            _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(pairs, 16), 16))};
  }
};
struct Bf16Weights {
  static constexpr int kLine_bytes = 128;
  MOESAIC_INLINE static Group load(const std::byte* line, int g) {
    const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(line) + g);
    return {odd_of(pairs), even_of(pairs)};
  }
};
/// All groups share the 32 bytes of a line: group g has 4 bits of each half word.
struct Int4Weights {
  static constexpr int kLine_bytes = 32;
  MOESAIC_INLINE static Group load(const std::byte* line, int g) {
    const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(line));
    return {_mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(pairs, 12 - 4 * g), 28)),
            _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(pairs, 28 - 4 * g), 28))};
  }
};

/// Pairs of bf16 are the upper halves of the floats, side by side.
template <class Weights>
void expand(const void* packed, int64_t num_lines, void* lines) {
  const auto* in = static_cast<const std::byte*>(packed);
  auto* out = static_cast<__m128i*>(lines);
  for (int64_t j = 0; j < num_lines; ++j, in += Weights::kLine_bytes, out += 8)
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) {
      const Group group = Weights::load(in, g);
      const __m256i pairs =
          _mm256_or_si256(_mm256_castps_si256(group.odd), _mm256_srli_epi32(_mm256_castps_si256(group.even), 16));
      _mm_store_si128(out + g, _mm256_castsi256_si128(pairs));
      _mm_store_si128(out + 4 + g, _mm256_extracti128_si256(pairs, 1));
    }
}

/// Few rows: weights are expanded in registers and used at once; an accumulator has the columns of a group.
template <int R, class Weights>
void direct_rows(const F32Pair* x, const std::byte* packed, int64_t num_pairs, float* out) {
  __m256 acc[R][4];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g)
      acc[r][g] = _mm256_loadu2_m128(out + r * kColumns + 16 + g * 4, out + r * kColumns + g * 4);
  for (int64_t j = 0; j < num_pairs; ++j, x += R, packed += Weights::kLine_bytes)
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) {
      const Group group = Weights::load(packed, g);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        fma(acc[r][g], group.odd, _mm256_broadcast_ss(&x[r].odd));
        fma(acc[r][g], group.even, _mm256_broadcast_ss(&x[r].even));
      }
    }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g)
      _mm256_storeu2_m128(out + r * kColumns + 16 + g * 4, out + r * kColumns + g * 4, acc[r][g]);
}

void tile(int rows, const void* x, const void* lines, int64_t num_pairs, float* acc, const void* next) {
  static constexpr void (*kTiles[])(const F32Pair*, const __m256i*, int64_t, float*, const char*) = {
      tile_rows<1>, tile_rows<2>, tile_rows<3>, tile_rows<4>, tile_rows<5>, tile_rows<6>};
  kTiles[rows - 1](static_cast<const F32Pair*>(x), static_cast<const __m256i*>(lines), num_pairs, acc,
                   static_cast<const char*>(next));
}

template <class Weights>
void direct(int rows, const void* x, const void* packed, int64_t num_pairs, float* acc) {
  static constexpr void (*kTiles[kDirectRows])(const F32Pair*, const std::byte*, int64_t, float*) = {
      direct_rows<1, Weights>, direct_rows<2, Weights>, direct_rows<3, Weights>};
  kTiles[rows - 1](static_cast<const F32Pair*>(x), static_cast<const std::byte*>(packed), num_pairs, acc);
}

void scores(int queries, const void* q, const float*, const Page& page, int64_t num_pairs, float* out) {
  static constexpr void (*kTiles[])(const F32Pair*, const __m256i*, int64_t, float*) = {
      score_rows<1>, score_rows<2>, score_rows<3>, score_rows<4>, score_rows<5>, score_rows<6>};
  kTiles[queries - 1](static_cast<const F32Pair*>(q), reinterpret_cast<const __m256i*>(page.keys), num_pairs, out);
}

void values(int queries, const void* p, const float*, const Page& page, int64_t value_stride, float* out) {
  static constexpr void (*kTiles[])(const F32Pair*, const __m256i*, int64_t, float*) = {
      value_rows<1>, value_rows<2>, value_rows<3>, value_rows<4>, value_rows<5>, value_rows<6>};
  kTiles[queries - 1](static_cast<const F32Pair*>(p), reinterpret_cast<const __m256i*>(page.values), value_stride, out);
}

constexpr Product kInt8 = {.inputs = DType::kBf16,
                           .step_inputs = 2,
                           .step_bytes = sizeof(F32Pair),
                           .line_bytes = 4 * kColumns,
                           .tile_rows = kRows,
                           .direct_rows = kDirectRows,
                           .make_steps = make_pairs<Bf16Act, F32Pair>,
                           .expand = expand<Int8Weights>,
                           .tile = tile,
                           .direct = direct<Int8Weights>,
                           .scale_leaf = scale_leaf};

constexpr Product kBf16 = with_activations(kInt8, expand<Bf16Weights>, direct<Bf16Weights>);
constexpr Product kInt4 =
    int4_product<kInt8, expand<Int4Weights>, direct_groups<direct<Int4Weights>, sizeof(F32Pair)>>();
static_assert(rows_fit(kInt8) && rows_fit(kBf16) && rows_fit(kInt4));

constexpr Attention kAttention = {.pair_bytes = sizeof(F32Pair),
                                  .tile_queries = kRows,
                                  .make_pairs = make_pairs<Bf16Act, F32Pair>,
                                  .write_kv = write_kv_bf16,
                                  .scores = scores,
                                  .weights_of_keys = weights<Bf16Act, F32Pair>,
                                  .values = values};

constexpr Path kPath = {.act = kCodec<Bf16Act>,
                        .input = kCodec<Bf16Act>,
                        .int8 = kInt8Codec,
                        .attention = &kAttention,
                        .products = {nullptr, &kBf16, nullptr, &kInt4, &kInt8},
                        .result_bytes = 2,
                        .add_left = add_left,
                        .gated_gelu = gated_gelu<Bf16Act>,
                        .finish_head = finish_head<Bf16Act>,
                        .rms_norm = rms_norm,
                        .rope = rope,
                        .router_logits = router_logits};

}  // namespace

const Path kAvx2Path = kPath;
const Path kAvx2Int8Path = with_int8_inputs(kPath, kAvx2Int8);
const Path kAvx2Int16Path = with_int16_rows(kPath, kAvx2Int8x16, kAvx2Int4x16, kAvx2Int16x16, kAvx2Int16Attention);

}  // namespace moesaic::cpu
