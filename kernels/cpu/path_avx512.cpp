#include <immintrin.h>

#include "capped_weights_avx512.hpp"
#include "int4_avx512.hpp"

/// w8a16 with AVX-512 BF16: tiles of 12 rows x 32 columns (matrices) and 6 queries x 64 columns (attention),
/// 24 accumulators each; a vector holds 16 columns, or 16 columns of a pair as bf16. vdpbf16ps does a pair
/// for 16 columns.
namespace moesaic::cpu {
namespace {

constexpr int kRows = 12, kInt4DirectRows = 8, kQueries = 6;

/// acc += a.odd * b.odd, then += a.even * b.even. Written as assembly because gcc 12 copies the accumulator
/// of the intrinsic to another register and back.
MOESAIC_INLINE void dot(__m512& acc, __m512i a, __m512i b) { asm("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b)); }
MOESAIC_INLINE __m512i broadcast(const std::uint32_t* pair) { return _mm512_set1_epi32(static_cast<int>(*pair)); }

/// A line's 32 columns of pairs.
struct Line {
  __m512i columns[2];
};

/// Lines that lie expanded, C vectors a line.
struct Expanded {
  const __m512i* at;
  int64_t stride;
  MOESAIC_INLINE __m512i operator()(int64_t j, int c) const { return _mm512_loadu_si512(at + j * stride + c); }
};

/// acc(R, 16 C columns) += x . w over the pairs j: x[r * x_row + j * x_pair], w(j, c). Prefetches 64 bytes of
/// `next` a pair.
template <int R, int C>
MOESAIC_INLINE void multiply(const std::uint32_t* x, int64_t x_row, int64_t x_pair, Expanded w, int64_t num_pairs,
                             __m512 (&acc)[R][C], const char* next = nullptr) {
  for (int64_t j = 0; j < num_pairs; ++j, x += x_pair) {
    if (next) _mm_prefetch(next + j * 64, _MM_HINT_T0);
    __m512i v[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) v[c] = w(j, c);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const __m512i b = broadcast(x + r * x_row);
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) dot(acc[r][c], v[c], b);
    }
  }
}

template <int R, int C>
MOESAIC_INLINE void load(const float* from, int64_t stride, __m512 (&acc)[R][C]) {
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) acc[r][c] = _mm512_loadu_ps(from + r * stride + c * 16);
}
template <int R, int C>
MOESAIC_INLINE void store(const __m512 (&acc)[R][C], float* to, int64_t stride) {
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) _mm512_storeu_ps(to + r * stride + c * 16, acc[r][c]);
}

// ---- expanding packed lines

/// The upper two bytes of the floats first, 1, 2, ... 127: bf16 by magnitude.
struct ByteTables {
  alignas(64) std::uint8_t low[128], high[128];
  constexpr explicit ByteTables(int first) : low(), high() {
    for (int i = 0; i < 128; ++i) {
      const auto bits = MOESAIC_BITS(std::uint32_t, static_cast<float>(i == 0 ? first : i));
      low[i] = static_cast<std::uint8_t>(bits >> 16);
      high[i] = static_cast<std::uint8_t>(bits >> 24);
    }
  }
};
template <bool kHasLowest>
constexpr ByteTables kTables{kHasLowest ? 128 : 0};

/// Sign and magnitude to bf16 by two byte tables; vpermi2b does not look at the sign. Where -128 occurs, 0 and -128
/// both read entry 0, which is -128's then, and zeros are masked out.
///
/// The stream is prefetched into the second-level cache: one Zen 4 thread decodes a fifth faster with it. Without this
/// much to do between two lines (bf16, w8a8) the processor does better by itself. It may reach beyond the matrix, which
/// is harmless.
template <bool kHasLowest>
struct Int8Weights {
  static constexpr int kLine_bytes = 64, kPrefetch_bytes = 8192;
  __m512i low[2], high[2];

  MOESAIC_INLINE Int8Weights() {
    for (int i = 0; i < 2; ++i) {
      low[i] = _mm512_load_si512(kTables<kHasLowest>.low + 64 * i);
      high[i] = _mm512_load_si512(kTables<kHasLowest>.high + 64 * i);
    }
  }

  MOESAIC_INLINE Line operator()(const std::byte* packed) const {
    constexpr int kHighOrSign = 0xf8;  // a | (b & c)
    const __m512i w = _mm512_loadu_si512(packed);
    const __m512i l = _mm512_permutex2var_epi8(low[0], w, low[1]);
    __m512i h;
    if constexpr (kHasLowest)
      h = _mm512_maskz_permutex2var_epi8(_mm512_test_epi8_mask(w, w), high[0], w, high[1]);
    else
      h = _mm512_permutex2var_epi8(high[0], w, high[1]);
    const __m512i signed_h = _mm512_ternarylogic_epi32(h, w, _mm512_set1_epi8(-128), kHighOrSign);
    return {{_mm512_unpacklo_epi8(l, signed_h), _mm512_unpackhi_epi8(l, signed_h)}};
  }
};

/// The numbers that 4 bits mean as bf16, for 5 bits of which the highest is another number's.
struct Int4Table {
  alignas(64) std::uint16_t values[32];
  constexpr Int4Table() : values() {
    for (int i = 0; i < 32; ++i) {
      const float value = static_cast<float>((i & 15) ^ 8) - 8.0f;
      values[i] = static_cast<std::uint16_t>(MOESAIC_BITS(std::uint32_t, value) >> 16);
    }
  }
};
constexpr Int4Table kInt4Table;

/// Each half of a line holds 16 columns of a pair, four to a shift: its copies, shifted, are the indices of a table.
struct Int4Weights {
  static constexpr int kLine_bytes = 32, kPrefetch_bytes = 0;
  __m512i table, shifts;

  MOESAIC_INLINE Int4Weights()
      : table(_mm512_load_si512(kInt4Table.values)),
        shifts(_mm512_set_epi64(0x000c000c000c000c, 0x000c000c000c000c, 0x0008000800080008, 0x0008000800080008,
                                0x0004000400040004, 0x0004000400040004, 0, 0)) {}

  MOESAIC_INLINE __m512i columns(const std::byte* half) const {
    const __m512i four = _mm512_maskz_broadcast_i32x4(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(half)));
    return _mm512_maskz_permutexvar_epi16(0xffffffff, _mm512_srlv_epi16(four, shifts), table);
  }
  MOESAIC_INLINE Line operator()(const std::byte* packed) const { return {{columns(packed), columns(packed + 16)}}; }
};

/// Packed bf16: the 128-bit lanes alternate between the first and the second half of the panel.
struct Bf16Weights {
  static constexpr int kLine_bytes = 128, kPrefetch_bytes = 0;
  MOESAIC_INLINE Line operator()(const std::byte* packed) const {
    const __m512i a = _mm512_loadu_si512(packed), b = _mm512_loadu_si512(packed + 64);
    // The zero-masked form: gcc 12 warns about the undefined operand in its own header otherwise.
    return {{_mm512_maskz_shuffle_i32x4(0xffff, a, b, 0x88), _mm512_maskz_shuffle_i32x4(0xffff, a, b, 0xdd)}};
  }
};

template <class Weights>
void expand(const void* packed, int64_t num_lines, void* lines) {
  const Weights weights;
  const auto* in = static_cast<const std::byte*>(packed);
  auto* out = static_cast<__m512i*>(lines);
  for (int64_t j = 0; j < num_lines; ++j, in += Weights::kLine_bytes, out += 2) {
    const Line line = weights(in);
    _mm512_store_si512(out, line.columns[0]);
    _mm512_store_si512(out + 1, line.columns[1]);
  }
}

// ---- tiles

template <int R>
void tile_rows(const std::uint32_t* x, const __m512i* lines, int64_t num_pairs, float* out, const char* next) {
  __m512 acc[R][2];
  load(out, kColumns, acc);
  multiply<R, 2>(x, 1, R, {lines, 2}, num_pairs, acc, next);
  store(acc, out, kColumns);
}

/// Few rows: each line of weights comes from memory, is expanded in registers and used at once.
template <int R, class Weights>
void direct_rows(const std::uint32_t* x, const std::byte* packed, int64_t num_pairs, float* out) {
  const Weights weights;
  __m512 acc[R][2];
  load(out, kColumns, acc);
  for (int64_t j = 0; j < num_pairs; ++j, x += R, packed += Weights::kLine_bytes) {
    if constexpr (Weights::kPrefetch_bytes > 0) _mm_prefetch(packed + Weights::kPrefetch_bytes, _MM_HINT_T1);
    const Line w = weights(packed);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const __m512i b = broadcast(x + r);
      dot(acc[r][0], w.columns[0], b);
      dot(acc[r][1], w.columns[1], b);
    }
  }
  store(acc, out, kColumns);
}

/// One group after the other: reading several at a time would hide the latency of dots, but the processor prefetches
/// no such streams (measured: 8 instead of 21 GB/s).
template <int R>
void direct_int4_rows(const std::uint32_t* x, const std::byte* packed, int64_t num_pairs, float* out) {
  const Int4Weights weights;
  __m512 acc[R][2];
  load(out, kColumns, acc);
  for (int64_t first = 0; first < num_pairs; first += kInt4GroupSteps, packed += kInt4Group_bytes) {
    __m512 sums[R][2] = {};
    const std::byte* line = packed + kInt4Scales_bytes;
    for (int64_t j = group_size(first, num_pairs); j > 0; --j, x += R, line += Int4Weights::kLine_bytes) {
      const Line w = weights(line);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        const __m512i b = broadcast(x + r);
        dot(sums[r][0], w.columns[0], b);
        dot(sums[r][1], w.columns[1], b);
      }
    }
#pragma GCC unroll 2
    for (int c = 0; c < 2; ++c) {
      const __m512 scales = int4_scales(packed + 32 * c);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) acc[r][c] = _mm512_add_ps(acc[r][c], _mm512_mul_ps(sums[r][c], scales));
    }
  }
  store(acc, out, kColumns);
}

template <int R>
void score_rows(const std::uint32_t* q, const __m512i* keys, int64_t num_pairs, float* out) {
  __m512 acc[R][4] = {};
  multiply<R, 4>(q, num_pairs, 1, {keys, 4}, num_pairs, acc);
  store(acc, out, kKeys);
}

template <int R, int C>
MOESAIC_INLINE void value_columns(const std::uint32_t* p, const __m512i* values, int64_t value_stride, float* out) {
  __m512 acc[R][C] = {};
  multiply<R, C>(p, kKeys / 2, 1, {values, value_stride / 16}, kKeys / 2, acc);
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      float* at = out + r * value_stride + c * 16;
      _mm512_storeu_ps(at, _mm512_add_ps(_mm512_loadu_ps(at), acc[r][c]));
    }
}

template <int R>
void value_rows(const std::uint32_t* p, const __m512i* values, int64_t value_stride, float* out) {
  int64_t column = 0;
  for (; column + 64 <= value_stride; column += 64)
    value_columns<R, 4>(p, values + column / 16, value_stride, out + column);
  for (; column < value_stride; column += 16) value_columns<R, 1>(p, values + column / 16, value_stride, out + column);
}

/// What weights<Bf16Act, Bf16Pair> gives.
float weights_of_keys(const float* scores, int visible, const math::CappedSoftmax& softmax, const Page&, void* out,
                      float*) {
  __m512 p[kVectors];
  capped_weights(scores, visible, softmax, p);
  __m512 lanes = _mm512_setzero_ps();
#pragma GCC unroll 2
  for (int i = 0; i < kVectors; i += 2) {
    const auto rounded = std::bit_cast<__m512i>(_mm512_cvtne2ps_pbh(p[i + 1], p[i]));  // as round_normal_bf16()
    _mm512_storeu_si512(static_cast<char*>(out) + 32 * i, rounded);
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const __m256i bits = half == 0 ? _mm512_maskz_extracti64x4_epi64(0xff, rounded, 0)
                                     : _mm512_maskz_extracti64x4_epi64(0xff, rounded, 1);
      const __m512 widened =
          _mm512_castsi512_ps(_mm512_maskz_slli_epi32(kAll, _mm512_maskz_cvtepu16_epi32(kAll, bits), 16));
      lanes = i + half == 0 ? widened : lanes + widened;
    }
  }
  float lane_values[16];
  _mm512_storeu_ps(lane_values, lanes);
  return lane_tree(lane_values);
}

// ---- the choice of a tile

using Tile = void (*)(const std::uint32_t*, const __m512i*, int64_t, float*, const char*);
using BlockTile = void (*)(const std::uint32_t*, const __m512i*, int64_t, float*);
using Direct = void (*)(const std::uint32_t*, const std::byte*, int64_t, float*);

void tile(int rows, const void* x, const void* lines, int64_t num_pairs, float* acc, const void* next) {
  static constexpr Tile kTiles[kRows] = {tile_rows<1>, tile_rows<2>,  tile_rows<3>,  tile_rows<4>,
                                         tile_rows<5>, tile_rows<6>,  tile_rows<7>,  tile_rows<8>,
                                         tile_rows<9>, tile_rows<10>, tile_rows<11>, tile_rows<12>};
  kTiles[rows - 1](static_cast<const std::uint32_t*>(x), static_cast<const __m512i*>(lines), num_pairs, acc,
                   static_cast<const char*>(next));
}

template <class Weights>
void direct(int rows, const void* x, const void* packed, int64_t num_pairs, float* acc) {
  static constexpr Direct kTiles[kRows] = {
      direct_rows<1, Weights>, direct_rows<2, Weights>,  direct_rows<3, Weights>,  direct_rows<4, Weights>,
      direct_rows<5, Weights>, direct_rows<6, Weights>,  direct_rows<7, Weights>,  direct_rows<8, Weights>,
      direct_rows<9, Weights>, direct_rows<10, Weights>, direct_rows<11, Weights>, direct_rows<12, Weights>};
  kTiles[rows - 1](static_cast<const std::uint32_t*>(x), static_cast<const std::byte*>(packed), num_pairs, acc);
}

void direct_int4(int rows, const void* x, const void* packed, int64_t num_pairs, float* acc) {
  static constexpr Direct kTiles[kInt4DirectRows] = {direct_int4_rows<1>, direct_int4_rows<2>, direct_int4_rows<3>,
                                                     direct_int4_rows<4>, direct_int4_rows<5>, direct_int4_rows<6>,
                                                     direct_int4_rows<7>, direct_int4_rows<8>};
  kTiles[rows - 1](static_cast<const std::uint32_t*>(x), static_cast<const std::byte*>(packed), num_pairs, acc);
}

void scores(int queries, const void* q, const float*, const Page& page, int64_t num_pairs, float* out) {
  static constexpr BlockTile kTiles[kQueries] = {score_rows<1>, score_rows<2>, score_rows<3>,
                                                 score_rows<4>, score_rows<5>, score_rows<6>};
  kTiles[queries - 1](static_cast<const std::uint32_t*>(q), reinterpret_cast<const __m512i*>(page.keys), num_pairs,
                      out);
}

void values(int queries, const void* p, const float*, const Page& page, int64_t value_stride, float* out) {
  static constexpr BlockTile kTiles[kQueries] = {value_rows<1>, value_rows<2>, value_rows<3>,
                                                 value_rows<4>, value_rows<5>, value_rows<6>};
  kTiles[queries - 1](static_cast<const std::uint32_t*>(p), reinterpret_cast<const __m512i*>(page.values), value_stride,
                      out);
}

template <bool kHasLowest>
constexpr Product int8_product(const Product* with_lowest) {
  return {.inputs = DType::kBf16,
          .step_inputs = 2,
          .step_bytes = sizeof(Bf16Pair),
          .line_bytes = 4 * kColumns,
          .tile_rows = kRows,
          .direct_rows = kRows,
          .make_steps = make_pairs<Bf16Act, Bf16Pair>,
          .expand = expand<Int8Weights<kHasLowest>>,
          .tile = tile,
          .direct = direct<Int8Weights<kHasLowest>>,
          .scale_leaf = scale_leaf,
          .with_lowest = with_lowest};
}
constexpr Product kInt8WithLowest = int8_product<true>(nullptr), kInt8 = int8_product<false>(&kInt8WithLowest);
constexpr Product kBf16 = with_activations(kInt8, expand<Bf16Weights>, direct<Bf16Weights>);
constexpr Product kInt4 = int4_product<kInt8, expand<Int4Weights>, direct_int4>(kInt4DirectRows);
static_assert(rows_fit(kInt8) && rows_fit(kBf16) && rows_fit(kInt4));

constexpr Attention kAttention = {.pair_bytes = sizeof(Bf16Pair),
                                  .tile_queries = kQueries,
                                  .make_pairs = make_pairs<Bf16Act, Bf16Pair>,
                                  .write_kv = write_kv_bf16,
                                  .scores = scores,
                                  .weights_of_keys = weights_of_keys,
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

const Path kAvx512Path = kPath;
const Path kAvx512Int8Path = with_int8_inputs(kPath, kAvx512Int8);
const Path kAvx512Int16Path =
    with_int16_rows(kPath, kAvx512Int8x16, kAvx512Int4x16, kAvx512Int16x16, kAvx512Int16Attention);

void vdpbf16ps(const std::uint16_t* a, const std::uint16_t* b, float* acc) {
  __m512 sum = _mm512_loadu_ps(acc);
  dot(sum, _mm512_loadu_si512(a), _mm512_loadu_si512(b));
  _mm512_storeu_ps(acc, sum);
}

}  // namespace moesaic::cpu
