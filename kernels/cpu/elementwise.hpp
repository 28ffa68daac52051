#pragma once

#include <cstdint>
#include <cstring>

#include "base/math.hpp"
#include "base/quantise.hpp"
#include "path.hpp"

/// Operations on single rows, written once; every path compiles them for its instruction set. The loops have
/// no branches and fixed inner lengths where it counts, so that the compiler makes vector code of them; the
/// order of every sum is spelled out, so all compilations give the same bits.
namespace moesaic::cpu {
namespace {  // NOLINT: a copy for each path is the purpose

using std::int64_t;

/// to_bf16() of base/dtypes.hpp without branches.
MOESAIC_INLINE std::uint16_t round_bf16(float x) {
  const std::uint32_t u = MOESAIC_BITS(std::uint32_t, x), exponent = u & 0x7f800000u, upper = u >> 16;
  const std::uint32_t rounded = (u + 0x7fffu + (upper & 1u)) >> 16;
  const std::uint32_t finite = exponent == 0 ? upper & 0x8000u : rounded;
  return static_cast<std::uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? upper | 0x40u : finite);
}
/// The same for what is neither subnormal nor a NaN with a payload.
MOESAIC_INLINE std::uint16_t round_normal_bf16(float x) {
  const std::uint32_t u = MOESAIC_BITS(std::uint32_t, x);
  return static_cast<std::uint16_t>((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}
MOESAIC_INLINE float widen_bf16(std::uint16_t x) { return MOESAIC_BITS(float, static_cast<std::uint32_t>(x) << 16); }

/// A weight as sign and magnitude (DType::kSignMagnitude8).
MOESAIC_INLINE float sign_magnitude(std::uint8_t x) {
  const int magnitude = x == 0x80 ? 128 : x & 0x7f;
  return static_cast<float>(x < 0x80 ? magnitude : -magnitude);
}

/// An activation, written and read as float.
struct Bf16Act {
  using Type = std::uint16_t;
  static constexpr DType kType = DType::kBf16;
  MOESAIC_INLINE static Type round(float x) { return round_bf16(x); }
  MOESAIC_INLINE static Type round_normal(float x) { return round_normal_bf16(x); }
  MOESAIC_INLINE static float widen(Type x) { return widen_bf16(x); }
  MOESAIC_INLINE static float gelu(float x) { return math::gelu_f32(x); }
  MOESAIC_INLINE static float weight(float dot, const math::CappedSoftmax& c) {
    return math::capped_weight_f32(dot, c);
  }
};
/// What is quantised later: bf16's functions, but nothing is rounded yet.
struct UnroundedAct {
  using Type = float;
  MOESAIC_INLINE static Type round(float x) { return x; }
  MOESAIC_INLINE static float gelu(float x) { return math::gelu_f32(x); }
};
struct F32Act {
  using Type = float;
  static constexpr DType kType = DType::kF32;
  MOESAIC_INLINE static Type round(float x) { return x; }
  MOESAIC_INLINE static Type round_normal(float x) { return x; }
  MOESAIC_INLINE static float widen(Type x) { return x; }
  MOESAIC_INLINE static float gelu(float x) { return math::gelu_exact(x); }
  MOESAIC_INLINE static float weight(float dot, const math::CappedSoftmax& c) {
    return math::capped_weight_exact(dot, c);
  }
};

/// A pair of inputs in the form a path multiplies with.
struct Bf16Pair {
  std::uint16_t even, odd;
  template <class Act>
  MOESAIC_INLINE static Bf16Pair of(typename Act::Type even, typename Act::Type odd) {
    return {even, odd};
  }
};
struct F32Pair {
  float even, odd;
  template <class Act>
  MOESAIC_INLINE static F32Pair of(typename Act::Type even, typename Act::Type odd) {
    return {Act::widen(even), Act::widen(odd)};
  }
};

/// The compiler's vectors, in one register or several; never parameters of a function.
using Float8 [[gnu::vector_size(32)]] = float;
using Float16 [[gnu::vector_size(64)]] = float;

/// ((0+1)+(2+3)) + ... over 16 lanes. Every lane gets the sum: x + y and y + x are the same bits.
MOESAIC_INLINE float lane_tree(const float (&lanes)[16]) {
  Float16 v;
  std::memcpy(&v, lanes, sizeof(v));
  v += __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
  v += __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
  v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
  v += __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
  return v[0];
}

template <class Act, class Pair>
void make_pairs(const void* x_act, int64_t num_inputs, void* out, int64_t stride) {
  const auto* x = static_cast<const typename Act::Type*>(x_act);
  auto* pairs = static_cast<Pair*>(out);
  for (int64_t j = 0; j < num_inputs / 2; ++j) pairs[j * stride] = Pair::template of<Act>(x[2 * j], x[2 * j + 1]);
  if (num_inputs % 2 == 1) pairs[num_inputs / 2 * stride] = Pair::template of<Act>(x[num_inputs - 1], 0);
}

[[maybe_unused]] void scale_leaf(const float* scales, const LeafScale*, std::size_t, int rows, const void* acc,
                                 float* leaf) {
  const auto* sums = static_cast<const float*>(acc);
  for (int row = 0; row < rows; ++row)
    for (int c = 0; c < kColumns; ++c) leaf[row * kColumns + c] = sums[row * kColumns + c] * scales[c];
}

template <class Int>
void encode_integers(const float* x, int64_t n, void* q, LeafScale* scale) {
  const auto quantised = math::quantise(x, n, static_cast<Int*>(q));
  *scale = {quantised.scale, quantised.sum};
}

[[maybe_unused]] void add_left(const float* left, int64_t n, float* acc) {
  for (int64_t i = 0; i < n; ++i) acc[i] = left[i] + acc[i];
}

template <class Act>
void gated_gelu(const float* gate, const float* up, int64_t n, void* out) {
  auto* h = static_cast<typename Act::Type*>(out);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) h[i] = Act::round(Act::gelu(gate[i]) * up[i]);
}

template <class Act>
void encode(const float* x, int64_t n, void* out, LeafScale*) {
  auto* y = static_cast<typename Act::Type*>(out);
  for (int64_t i = 0; i < n; ++i) y[i] = Act::round(x[i]);
}

template <class Act>
void decode(const void* y_act, const LeafScale*, int64_t n, float factor, float* x) {
  const auto* y = static_cast<const typename Act::Type*>(y_act);
  for (int64_t i = 0; i < n; ++i) x[i] = Act::widen(y[i]) * factor;
}

template <class Act>
void add_decoded(const void* y_act, const LeafScale*, int64_t n, float factor, float* x) {
  const auto* y = static_cast<const typename Act::Type*>(y_act);
  for (int64_t i = 0; i < n; ++i) x[i] += Act::widen(y[i]) * factor;
}

template <class Int>
void decode_integers(const void* integers, const LeafScale* scale, int64_t n, float factor, float* x) {
  const auto* q = static_cast<const Int*>(integers);
  const float s = scale->scale;
  for (int64_t i = 0; i < n; ++i) x[i] = (static_cast<float>(q[i]) * s) * factor;
}

template <class Int>
void add_integers(const void* integers, const LeafScale* scale, int64_t n, float factor, float* x) {
  const auto* q = static_cast<const Int*>(integers);
  const float s = scale->scale;
  for (int64_t i = 0; i < n; ++i) x[i] += (static_cast<float>(q[i]) * s) * factor;
}

template <class Int>
constexpr Codec integer_codec(DType type) {
  return {.type = type, .encode = encode_integers<Int>, .decode = decode_integers<Int>, .add = add_integers<Int>};
}

template <class Act>
constexpr Codec kCodec{.type = Act::kType, .encode = encode<Act>, .decode = decode<Act>, .add = add_decoded<Act>};
constexpr Codec kInt8Codec = integer_codec<std::int8_t>(DType::kInt8);
constexpr Codec kInt16Codec = integer_codec<std::int16_t>(DType::kInt16);

/// The block sum of a block's weights: lane i adds up p[i], p[i+16], p[i+32], p[i+48], then the lanes' tree.
MOESAIC_INLINE float sum_of_weights(const float (&p)[kKeys]) {
  float lanes[16];
  for (int lane = 0; lane < 16; ++lane) lanes[lane] = ((p[lane] + p[lane + 16]) + p[lane + 32]) + p[lane + 48];
  return lane_tree(lanes);
}

template <class Act, class Pair>
float weights(const float* scores, int visible, const math::CappedSoftmax& softmax, const Page&, void* out, float*) {
  const math::CappedSoftmax constants = softmax;
  auto* pairs = static_cast<Pair*>(out);
  typename Act::Type p[kKeys];
  float widened[kKeys];
  for (int i = 0; i < kKeys; ++i) {
    const float weight = Act::weight(scores[i], constants);
    p[i] = Act::round_normal(i < visible ? weight : 0.0f);
    widened[i] = Act::widen(p[i]);
  }
  for (int j = 0; j < kKeys / 2; ++j) pairs[j] = Pair::template of<Act>(p[2 * j], p[2 * j + 1]);
  return sum_of_weights(widened);
}

template <class Act>
void finish_head(const float* sums, float sum, int64_t n, void* out) {
  auto* y = static_cast<typename Act::Type*>(out);
  for (int64_t i = 0; i < n; ++i) y[i] = Act::round(sums[i] / sum + 0.0f);
}

[[maybe_unused]] void write_kv_bf16(const float* k, const float* v, int64_t key_size, int64_t value_stride, int slot,
                                    const Page& page) {
  auto* keys = reinterpret_cast<std::uint16_t*>(page.keys);
  auto* values = reinterpret_cast<std::uint16_t*>(page.values);
  for (int64_t j = 0; j < key_size; ++j) keys[(j / 2 * kKeys + slot) * 2 + j % 2] = round_bf16(k[j]);
  for (int64_t j = 0; j < key_size; ++j) values[(slot / 2 * value_stride + j) * 2 + slot % 2] = round_bf16(v[j]);
}

[[maybe_unused]] void rms_norm(const float* x, const float* scale, int64_t width, float eps, float* y) {
  float lanes[16] = {};
  int64_t i = 0;
  for (; i + 16 <= width; i += 16)
    for (int lane = 0; lane < 16; ++lane) lanes[lane] += x[i + lane] * x[i + lane];
  for (int lane = 0; i + lane < width; ++lane) lanes[lane] += x[i + lane] * x[i + lane];
  const float mean = lane_tree(lanes) / static_cast<float>(width);
  const float r = 1.0f / __builtin_sqrtf(mean + eps);
  for (i = 0; i < width; ++i) y[i] = (x[i] * r) * scale[i];
}

[[maybe_unused]] void rope(float* x, int64_t key_size, const float* cosines, const float* sines) {
  const int64_t half = key_size / 2;
#pragma GCC ivdep
  for (int64_t j = 0; j < half; ++j) {
    const float a = x[j], b = x[j + half];
    x[j] = a * cosines[j] - b * sines[j];
    x[j + half] = b * cosines[j] + a * sines[j];
  }
}

/// Lane l of 16 adds up the products of the inputs l, l + 16, ... ascending, then the lanes' tree, as rms_norm() adds.
/// Eight experts side by side; the lanes hide the latency of the additions.
[[maybe_unused]] void router_logits(const float* x, int64_t width, const float* w, int64_t num_experts, float* logits) {
  constexpr int kSide = 8;
  int64_t e = 0;
  for (; e + kSide <= num_experts; e += kSide) {
    Float8 lanes[16] = {};
    const auto add = [&](int64_t i, int lane) {
      Float8 weights;
      std::memcpy(&weights, w + i * num_experts + e, sizeof(weights));
      lanes[lane] += x[i] * weights;
    };
    int64_t i = 0;
    for (; i + 16 <= width; i += 16)
#pragma GCC unroll 16
      for (int lane = 0; lane < 16; ++lane) add(i + lane, lane);
    for (int lane = 0; i + lane < width; ++lane) add(i + lane, lane);
#pragma GCC unroll 4
    for (int step = 1; step < 16; step *= 2)
      for (int lane = 0; lane < 16; lane += 2 * step) lanes[lane] += lanes[lane + step];
    std::memcpy(logits + e, &lanes[0], sizeof(lanes[0]));
  }
  for (; e < num_experts; ++e) {
    float lanes[16] = {};
    for (int64_t i = 0; i < width; ++i) lanes[i % 16] += x[i] * w[i * num_experts + e];
    logits[e] = lane_tree(lanes);
  }
}

/// The product with a matrix of activations: its lines lie otherwise, and it has no scales.
constexpr Product with_activations(Product product, decltype(Product::expand) expand,
                                   decltype(Product::direct) direct) {
  product.expand = expand;
  product.direct = direct;
  product.scale_leaf = nullptr;
  product.with_lowest = nullptr;
  return product;
}

/// A w8a16 path that quantises the inputs of int8 matrices.
[[maybe_unused]] constexpr Path with_int8_inputs(Path path, const Product& weights) {
  path.products[static_cast<std::size_t>(DType::kInt8)] = &weights;
  path.products[static_cast<std::size_t>(DType::kSignMagnitude8)] = nullptr;
  path.products[static_cast<std::size_t>(DType::kInt4x2)] = nullptr;
  path.result_bytes = sizeof(float);
  path.input = kInt8Codec;
  path.gated_gelu = gated_gelu<UnroundedAct>;
  path.finish_head = finish_head<UnroundedAct>;
  return path;
}

/// A w8a16 path with int16 in place of everything that is bf16 (w8i16, w4i16).
[[maybe_unused]] constexpr Path with_int16_rows(Path path, const Product& int8, const Product& int4,
                                                const Product& int16, const Attention& attention) {
  for (const Product*& product : path.products) product = nullptr;
  path.products[static_cast<std::size_t>(DType::kInt8)] = &int8;
  path.products[static_cast<std::size_t>(DType::kInt4x2)] = &int4;
  path.products[static_cast<std::size_t>(DType::kInt16)] = &int16;
  path.act = path.input = kInt16Codec;
  path.attention = &attention;
  path.result_bytes = sizeof(float);
  path.gated_gelu = gated_gelu<UnroundedAct>;
  path.finish_head = finish_head<UnroundedAct>;
  return path;
}

}  // namespace
}  // namespace moesaic::cpu
