#pragma once

#include "elementwise.hpp"

/// What products and attention of quantised rows have in common on all paths: rows in the forms that instructions take,
/// exact sums made into floats, int16 pages. Included by the files of the paths only, as elementwise.hpp is.
namespace moesaic::cpu {
namespace {  // NOLINT: a copy for each path is the purpose

/// Four quantised inputs that are multiplied with a line of int8 weights.
template <class Int>
struct Quad {
  Int inputs[4];
};
template <class Int>
void make_quads(const void* row, int64_t num_inputs, void* out, int64_t stride) {
  const auto* x = static_cast<const Int*>(row);
  auto* quads = static_cast<Quad<Int>*>(out);
  for (int64_t j = 0; j < num_inputs / 4; ++j) std::memcpy(quads + j * stride, x + 4 * j, sizeof(Quad<Int>));
  if (num_inputs % 4 == 0) return;
  Quad<Int> last = {};
  for (int64_t i = num_inputs / 4 * 4; i < num_inputs; ++i) last.inputs[i % 4] = x[i];
  quads[num_inputs / 4 * stride] = last;
}

/// Product::expand where lines are multiplied as they are packed: a copy keeps a chunk of them in the first-level
/// cache.
[[maybe_unused]] void copy_lines(const void* packed, int64_t num_steps, void* lines) {
  constexpr std::size_t kLine_bytes = 4 * kColumns;  // four int8 or two int16 of each column
  std::memcpy(lines, packed, static_cast<std::size_t>(num_steps) * kLine_bytes);
}

/// Product::direct where kTile reads lines as they are packed.
template <decltype(Product::tile) kTile>
void direct_tile(int rows, const void* x, const void* packed, int64_t num_steps, float* acc) {
  kTile(rows, x, packed, num_steps, acc, nullptr);
}

/// From int32 sums. If the products were of weights + kShift, the shift is taken back first, modulo 2^32.
template <int kShift>
void scale_int8_leaf(const float* scales, const LeafScale* inputs, std::size_t input_stride_bytes, int rows,
                     const void* acc, float* leaf) {
  const auto *input = reinterpret_cast<const char*>(inputs), *from = static_cast<const char*>(acc);
  for (int row = 0; row < rows; ++row, input += input_stride_bytes, leaf += kColumns) {
    LeafScale x;
    std::memcpy(&x, input, sizeof(x));
    const std::uint32_t shifted = static_cast<std::uint32_t>(x.sum) * kShift;
    std::uint32_t sums[kColumns];
    std::memcpy(sums, from, sizeof(sums));
    from += sizeof(sums);
    for (int c = 0; c < kColumns; ++c)
      leaf[c] = (static_cast<float>(static_cast<std::int32_t>(sums[c] - shifted)) * x.scale) * scales[c];
  }
}

/// int16 inputs as two of int8 (or of their range): q = 256 high + low.
MOESAIC_INLINE int high_of(int q) { return (q + 128) >> 8; }
MOESAIC_INLINE int low_of(int q) { return q - 256 * high_of(q); }

/// Four int16 inputs for instructions that multiply bytes: a row becomes two.
struct PlaneQuad {
  Quad<std::int8_t> high, low;
};
[[maybe_unused]] void make_plane_quads(const void* row, int64_t num_inputs, void* out, int64_t stride) {
  using Shorts [[gnu::vector_size(16)]] = std::int16_t;
  using Bytes [[gnu::vector_size(16)]] = std::int8_t;
  const auto* x = static_cast<const std::int16_t*>(row);
  auto* quads = static_cast<PlaneQuad*>(out);
  int64_t j = 0;
  for (; 4 * j + 8 <= num_inputs; j += 2) {  // the upper bytes of q + 128 and the lower ones of q
    Shorts q;
    std::memcpy(&q, x + 4 * j, sizeof(q));
    const auto upper = reinterpret_cast<Bytes>(q + 128), lower = reinterpret_cast<Bytes>(q);
    const Bytes two = __builtin_shufflevector(upper, lower, 1, 3, 5, 7, 16, 18, 20, 22, 9, 11, 13, 15, 24, 26, 28, 30);
    PlaneQuad both[2];
    std::memcpy(both, &two, sizeof(both));
    quads[j * stride] = both[0];
    quads[(j + 1) * stride] = both[1];
  }
  for (; 4 * j < num_inputs; ++j) {
    PlaneQuad quad = {};
    const int64_t size = num_inputs - 4 * j < 4 ? num_inputs - 4 * j : 4;
    for (int64_t i = 0; i < size; ++i) {
      quad.high.inputs[i] = static_cast<std::int8_t>(high_of(x[4 * j + i]));
      quad.low.inputs[i] = static_cast<std::int8_t>(low_of(x[4 * j + i]));
    }
    quads[j * stride] = quad;
  }
}

/// Two int16 inputs as they are.
struct Int16Pair {
  std::int16_t inputs[2];
};
[[maybe_unused]] void make_int16_pairs(const void* row, int64_t num_inputs, void* out, int64_t stride) {
  const auto* x = static_cast<const std::int16_t*>(row);
  auto* pairs = static_cast<Int16Pair*>(out);
  for (int64_t j = 0; 2 * j < num_inputs; ++j)
    pairs[j * stride] = {{x[2 * j], 2 * j + 1 < num_inputs ? x[2 * j + 1] : std::int16_t{0}}};
}

/// Two int16 inputs for instructions that multiply int16 by int16 into int32: where the other factor is int16 too, the
/// products of either plane may be added up without overflow.
struct PlanePair {
  std::int16_t high[2], low[2];
};
[[maybe_unused]] void make_plane_pairs(const void* row, int64_t num_inputs, void* out, int64_t stride) {
  const auto* x = static_cast<const std::int16_t*>(row);
  auto* pairs = static_cast<PlanePair*>(out);
  for (int64_t j = 0; 2 * j < num_inputs; ++j) {
    const int first = x[2 * j], second = 2 * j + 1 < num_inputs ? x[2 * j + 1] : 0;
    pairs[j * stride] = {{static_cast<std::int16_t>(high_of(first)), static_cast<std::int16_t>(high_of(second))},
                         {static_cast<std::int16_t>(low_of(first)), static_cast<std::int16_t>(low_of(second))}};
  }
}

/// From exact sums, (rows, 32) double.
[[maybe_unused]] void scale_exact_leaf(const float* scales, const LeafScale* inputs, std::size_t input_stride_bytes,
                                       int rows, const void* acc, float* leaf) {
  const auto* input = reinterpret_cast<const char*>(inputs);
  const auto* sums = static_cast<const double*>(acc);
  for (int row = 0; row < rows; ++row, input += input_stride_bytes, leaf += kColumns, sums += kColumns) {
    LeafScale x;
    std::memcpy(&x, input, sizeof(x));
    for (int c = 0; c < kColumns; ++c) leaf[c] = (static_cast<float>(sums[c]) * x.scale) * scales[c];
  }
}

/// int16 pages.
[[maybe_unused]] void write_kv_int16(const float* k, const float* v, int64_t key_size, int64_t value_stride, int slot,
                                     const Page& page) {
  auto* keys = reinterpret_cast<std::int16_t*>(page.keys);
  auto* values = reinterpret_cast<std::int16_t*>(page.values);
  std::int16_t q[kMostIntegerKeySize];
  page.key_scales[slot] = math::quantise(k, key_size, q).scale;
  for (int64_t j = 0; j < key_size; ++j) keys[(j / 2 * kKeys + slot) * 2 + j % 2] = q[j];
  page.value_scales[slot] = math::quantise(v, key_size, q).scale;
  for (int64_t j = 0; j < key_size; ++j) values[(slot / 2 * value_stride + j) * 2 + slot % 2] = q[j];
}

/// The weights p of a block's first `visible` keys as integers: p times the values' scales, quantised together. What
/// lies in other slots, scales included, has no part in it. Returns the common scale.
MOESAIC_INLINE float quantise_weights(const float (&p)[kKeys], int visible, const Page& page,
                                      std::int16_t (&q)[kKeys]) {
  float scaled[kKeys];
  for (int i = 0; i < kKeys; ++i) {
    const float product = p[i] * page.value_scales[i];
    scaled[i] = i < visible ? product : 0.0f;
  }
  return math::quantise(scaled, kKeys, q).scale;
}

template <decltype(Attention::make_pairs) kMakePairs>
float int16_weights(const float* scores, int visible, const math::CappedSoftmax& softmax, const Page& page, void* out,
                    float* scale) {
  const math::CappedSoftmax constants = softmax;
  float p[kKeys];
  for (int i = 0; i < kKeys; ++i) {
    const float weight = math::capped_weight_f32(scores[i], constants);
    p[i] = i < visible ? weight : 0.0f;
  }
  std::int16_t q[kKeys];
  *scale = quantise_weights(p, visible, page, q);
  kMakePairs(q, kKeys, out, 1);
  return sum_of_weights(p);
}

}  // namespace
}  // namespace moesaic::cpu
