#include <immintrin.h>

#include "integers.hpp"

/// Products with int8 matrices with AVX2: pairs of int16, multiplied and added by vpmaddwd, which is exact (vpmaddubsw,
/// on bytes, would saturate). Tile of up to 6 rows x 16 columns, 12 accumulators; a vector holds a pair of 8
/// columns. Of the four inputs of a line the first and third make a pair, and the second and fourth, which is
/// how 16-bit shifts take bytes apart.
namespace moesaic::cpu {
namespace {

constexpr int kRows = 6, kDirectRows = 3, kLine_bytes = 128;

/// Four inputs of a row as the two pairs.
struct Pairs {
  std::int16_t first, third, second, fourth;
};

MOESAIC_INLINE __m256i broadcast(const Pairs& x, int pair) {
  std::int32_t both;
  std::memcpy(&both, reinterpret_cast<const char*>(&x) + 4 * pair, sizeof(both));
  return _mm256_set1_epi32(both);
}
MOESAIC_INLINE void dot(__m256i& acc, __m256i w, __m256i x) { acc = _mm256_add_epi32(acc, _mm256_madd_epi16(w, x)); }

/// Sums of 8 columns that int32 holds (w8a8).
struct Int32Sums {
  using Type = std::int32_t;
  static constexpr int64_t kMostSteps = INT64_MAX;
  MOESAIC_INLINE static __m256i begin(const Type* at) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
  }
  MOESAIC_INLINE static void end(Type* at, __m256i v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), v); }
};
/// Sums of int16 inputs, which int32 holds for 512 of them (512 * 32639 * 128 < 2^31), and double as a whole.
struct ExactSums {
  using Type = double;
  static constexpr int64_t kMostSteps = 128;
  MOESAIC_INLINE static __m256i begin(const Type*) { return _mm256_setzero_si256(); }
  MOESAIC_INLINE static void end(Type* at, __m256i v) {
    _mm256_storeu_pd(at, _mm256_loadu_pd(at) + _mm256_cvtepi32_pd(_mm256_castsi256_si128(v)));
    _mm256_storeu_pd(at + 4, _mm256_loadu_pd(at + 4) + _mm256_cvtepi32_pd(_mm256_extracti128_si256(v, 1)));
  }
};

/// One pair of 8 columns of a packed line.
MOESAIC_INLINE __m256i pair_of(__m256i columns, int pair) {
  return _mm256_srai_epi16(pair == 0 ? _mm256_slli_epi16(columns, 8) : columns, 8);
}
MOESAIC_INLINE __m256i columns(const std::byte* packed, int group) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(packed) + group);
}

template <class Int>
void make_steps(const void* row, int64_t num_inputs, void* out, int64_t stride) {
  const auto* x = static_cast<const Int*>(row);
  auto* steps = static_cast<Pairs*>(out);
  const int64_t whole = num_inputs / 4;
  for (int64_t j = 0; j < whole; ++j) steps[j * stride] = {x[4 * j], x[4 * j + 2], x[4 * j + 1], x[4 * j + 3]};
  if (num_inputs % 4 == 0) return;
  Int last[4] = {};
  for (int64_t i = 4 * whole; i < num_inputs; ++i) last[i % 4] = x[i];
  steps[whole * stride] = {last[0], last[2], last[1], last[3]};
}

/// Of a line: the pairs (8 columns each) of the first half of the panel, one pair after the other, then of the second.
void expand(const void* packed, int64_t num_steps, void* lines) {
  const auto* in = static_cast<const std::byte*>(packed);
  auto* out = static_cast<__m256i*>(lines);
  for (int64_t j = 0; j < num_steps; ++j, in += kLine_bytes)
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half)
#pragma GCC unroll 2
      for (int pair = 0; pair < 2; ++pair)
#pragma GCC unroll 2
        for (int g = 0; g < 2; ++g) _mm256_store_si256(out++, pair_of(columns(in, 2 * half + g), pair));
}

template <int R, class Sums>
void tile_rows(const Pairs* x, const __m256i* lines, int64_t num_steps, typename Sums::Type* out, const char* next) {
  for (int half = 0; half < 2; ++half) {
    __m256i acc[R][2];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int c = 0; c < 2; ++c) acc[r][c] = Sums::begin(out + r * kColumns + half * 16 + c * 8);
    for (int64_t j = 0; j < num_steps; ++j) {
      if (next) _mm_prefetch(next + j * kLine_bytes + half * 64, _MM_HINT_T0);
#pragma GCC unroll 2
      for (int pair = 0; pair < 2; ++pair) {
        const __m256i *w = lines + 8 * j + 4 * half + 2 * pair, first = _mm256_load_si256(w),
                      second = _mm256_load_si256(w + 1);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
          const __m256i b = broadcast(x[j * R + r], pair);
          dot(acc[r][0], first, b);
          dot(acc[r][1], second, b);
        }
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int c = 0; c < 2; ++c) Sums::end(out + r * kColumns + half * 16 + c * 8, acc[r][c]);
  }
}

/// Few rows: weights are widened in registers and used at once.
template <int R, class Sums>
void direct_rows(const Pairs* x, const std::byte* packed, int64_t num_steps, typename Sums::Type* out) {
  __m256i acc[R][4];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) acc[r][g] = Sums::begin(out + r * kColumns + g * 8);
  for (int64_t j = 0; j < num_steps; ++j, x += R, packed += kLine_bytes)
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g)
#pragma GCC unroll 2
      for (int pair = 0; pair < 2; ++pair) {
        const __m256i w = pair_of(columns(packed, g), pair);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) dot(acc[r][g], w, broadcast(x[r], pair));
      }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) Sums::end(out + r * kColumns + g * 8, acc[r][g]);
}

template <class Sums>
void tile(int rows, const void* x, const void* lines, int64_t num_steps, float* acc, const void* next) {
  using Sum = typename Sums::Type;
  static constexpr void (*kTiles[kRows])(const Pairs*, const __m256i*, int64_t, Sum*, const char*) = {
      tile_rows<1, Sums>, tile_rows<2, Sums>, tile_rows<3, Sums>,
      tile_rows<4, Sums>, tile_rows<5, Sums>, tile_rows<6, Sums>};
  kTiles[rows - 1](static_cast<const Pairs*>(x), static_cast<const __m256i*>(lines), num_steps,
                   reinterpret_cast<Sum*>(acc), static_cast<const char*>(next));
}

template <class Sums>
void direct(int rows, const void* x, const void* packed, int64_t num_steps, float* acc) {
  using Sum = typename Sums::Type;
  static constexpr void (*kTiles[kDirectRows])(const Pairs*, const std::byte*, int64_t, Sum*) = {
      direct_rows<1, Sums>, direct_rows<2, Sums>, direct_rows<3, Sums>};
  const auto* steps = static_cast<const Pairs*>(x);
  const auto* lines = static_cast<const std::byte*>(packed);
  while (num_steps > 0) {
    const int64_t part = num_steps < Sums::kMostSteps ? num_steps : Sums::kMostSteps;
    kTiles[rows - 1](steps, lines, part, reinterpret_cast<Sum*>(acc));
    steps += part * rows;
    lines += part * kLine_bytes;
    num_steps -= part;
  }
}

constexpr Product product(DType inputs) {
  return {.inputs = inputs,
          .step_inputs = 4,
          .step_bytes = sizeof(Pairs),
          .line_bytes = 2 * kLine_bytes,
          .tile_rows = kRows,
          .direct_rows = kDirectRows,
          .make_steps = make_steps<std::int8_t>,
          .expand = expand,
          .tile = tile<Int32Sums>,
          .direct = direct<Int32Sums>,
          .scale_leaf = scale_int8_leaf<0>};
}
constexpr Product exact_product() {
  Product exact = product(DType::kInt16);
  exact.acc_bytes = sizeof(double);
  exact.make_steps = make_steps<std::int16_t>;
  exact.tile = tile<ExactSums>;
  exact.direct = direct<ExactSums>;
  exact.scale_leaf = scale_exact_leaf;
  return exact;
}

}  // namespace

constexpr Product kAvx2Int8 = product(DType::kInt8);
constexpr Product kAvx2Int8x16 = exact_product();
static_assert(rows_fit(kAvx2Int8) && rows_fit(kAvx2Int8x16));

}  // namespace moesaic::cpu
