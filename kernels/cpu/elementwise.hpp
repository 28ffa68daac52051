#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "ops/math.hpp"
#include "path.hpp"

/// Operations on single rows, written once; every path compiles them for its instruction set. The loops have no
/// branches and fixed inner lengths where it counts, so that the compiler makes vector code of them; the order of every
/// sum is spelled out, so all compilations give the same bits.
namespace moesaic::cpu {
namespace {  // NOLINT: a copy for each path is the purpose

using std::int64_t;

/// to_bf16() of base/dtypes.hpp without branches.
MOESAIC_INLINE std::uint16_t round_bf16(float x) {
  const std::uint32_t u = std::bit_cast<std::uint32_t>(x), exponent = u & 0x7f800000u, upper = u >> 16;
  const std::uint32_t rounded = (u + 0x7fffu + (upper & 1u)) >> 16;
  const std::uint32_t finite = exponent == 0 ? upper & 0x8000u : rounded;
  return static_cast<std::uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? upper | 0x40u : finite);
}
MOESAIC_INLINE float widen_bf16(std::uint16_t x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16); }

/// An activation, written and read as float.
struct Bf16Act {
  using Type = std::uint16_t;
  MOESAIC_INLINE static Type round(float x) { return round_bf16(x); }
  MOESAIC_INLINE static float widen(Type x) { return widen_bf16(x); }
};
struct F32Act {
  using Type = float;
  MOESAIC_INLINE static Type round(float x) { return x; }
  MOESAIC_INLINE static float widen(Type x) { return x; }
};

/// A pair of inputs in the form a path multiplies with.
struct Bf16Pair {
  std::uint16_t even, odd;
  template <class Act>
  MOESAIC_INLINE static Bf16Pair of(typename Act::Type even, typename Act::Type odd) { return {even, odd}; }
};
struct F32Pair {
  float even, odd;
  template <class Act>
  MOESAIC_INLINE static F32Pair of(typename Act::Type even, typename Act::Type odd) {
    return {Act::widen(even), Act::widen(odd)};
  }
};

/// ((0+1)+(2+3)) + ... over 16 lanes.
MOESAIC_INLINE float lane_tree(float (&lanes)[16]) {
  for (int n = 8; n >= 1; n /= 2)
    for (int i = 0; i < n; ++i) lanes[i] = lanes[2 * i] + lanes[2 * i + 1];
  return lanes[0];
}

template <class Act, class Pair>
void make_pairs(const void* x_act, int64_t num_inputs, void* out, int64_t stride) {
  const auto* x = static_cast<const typename Act::Type*>(x_act);
  auto* pairs = static_cast<Pair*>(out);
  for (int64_t j = 0; j < num_inputs / 2; ++j) pairs[j * stride] = Pair::template of<Act>(x[2 * j], x[2 * j + 1]);
  if (num_inputs % 2 == 1) pairs[num_inputs / 2 * stride] = Pair::template of<Act>(x[num_inputs - 1], 0);
}

void scale_leaf(const float* scales, int rows, float* acc) {
  for (int row = 0; row < rows; ++row)
    for (int c = 0; c < kColumns; ++c) acc[row * kColumns + c] *= scales[c];
}

void add_left(const float* left, int64_t n, float* acc) {
  for (int64_t i = 0; i < n; ++i) acc[i] = left[i] + acc[i];
}

template <class Act>
void gated_gelu(const float* gate, const float* up, int64_t n, void* out) {
  auto* h = static_cast<typename Act::Type*>(out);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) h[i] = Act::round(ops::gelu_f32(gate[i]) * up[i]);
}

template <class Act>
void to_activation(const float* x, int64_t n, void* out) {
  auto* y = static_cast<typename Act::Type*>(out);
  for (int64_t i = 0; i < n; ++i) y[i] = Act::round(x[i]);
}

template <class Act>
void from_activation(const void* y_act, int64_t n, float factor, float* x) {
  const auto* y = static_cast<const typename Act::Type*>(y_act);
  for (int64_t i = 0; i < n; ++i) x[i] = Act::widen(y[i]) * factor;
}

/// Block sum: lane i adds up p[i], p[i+16], p[i+32], p[i+48], then the lanes' tree.
template <class Act, class Pair>
float weights(const float* scores, int visible, const ops::CappedSoftmax& softmax, void* out) {
  auto* pairs = static_cast<Pair*>(out);
  typename Act::Type p[kKeys];
  for (int i = 0; i < kKeys; ++i) {
    const float weight = ops::capped_weight_f32(scores[i], softmax);
    p[i] = Act::round(i < visible ? weight : 0.0f);
  }
  float lanes[16] = {};
  for (int i = 0; i < kKeys; i += 16)
    for (int lane = 0; lane < 16; ++lane) lanes[lane] += Act::widen(p[i + lane]);
  for (int j = 0; j < kKeys / 2; ++j) pairs[j] = Pair::template of<Act>(p[2 * j], p[2 * j + 1]);
  return lane_tree(lanes);
}

template <class Act>
void finish_head(const float* sums, float sum, int64_t n, void* out) {
  auto* y = static_cast<typename Act::Type*>(out);
  for (int64_t i = 0; i < n; ++i) y[i] = Act::round(sums[i] / sum + 0.0f);
}

/// bf16 pages; f32 ones are path_f32.cpp's.
[[maybe_unused]] void write_kv_bf16(const float* k, const float* v, int64_t key_size, int64_t value_stride, int slot, void* keys_page,
                   void* values_page) {
  auto* keys = static_cast<std::uint16_t*>(keys_page);
  auto* values = static_cast<std::uint16_t*>(values_page);
  for (int64_t j = 0; j < key_size; ++j) keys[(j / 2 * kKeys + slot) * 2 + j % 2] = round_bf16(k[j]);
  for (int64_t j = 0; j < key_size; ++j) values[(slot / 2 * value_stride + j) * 2 + slot % 2] = round_bf16(v[j]);
}

void rms_norm(const float* x, const float* scale, int64_t width, float eps, float* y) {
  float lanes[16] = {};
  int64_t i = 0;
  for (; i + 16 <= width; i += 16)
    for (int lane = 0; lane < 16; ++lane) lanes[lane] += x[i + lane] * x[i + lane];
  for (int lane = 0; i + lane < width; ++lane) lanes[lane] += x[i + lane] * x[i + lane];
  const float mean = lane_tree(lanes) / static_cast<float>(width);
  const float r = 1.0f / std::sqrt(mean + eps);
  for (i = 0; i < width; ++i) y[i] = (x[i] * r) * scale[i];
}

void rope(float* x, int64_t key_size, const float* cosines, const float* sines) {
  const int64_t half = key_size / 2;
#pragma omp simd
  for (int64_t j = 0; j < half; ++j) {
    const float a = x[j], b = x[j + half];
    x[j] = a * cosines[j] - b * sines[j];
    x[j + half] = b * cosines[j] + a * sines[j];
  }
}

/// One accumulator per output, inputs ascending: the rows side by side hide the latency of the additions.
template <int kRows, int kExperts>
void router_tile(const float* x, int64_t width, const float* w, int64_t num_experts, int64_t first, float* logits) {
  float acc[kRows][kExperts] = {};
  for (int64_t i = 0; i < width; ++i)
    for (int r = 0; r < kRows; ++r)
      for (int e = 0; e < kExperts; ++e) acc[r][e] += x[r * width + i] * w[i * num_experts + first + e];
  for (int r = 0; r < kRows; ++r)
    for (int e = 0; e < kExperts; ++e) logits[r * num_experts + first + e] = acc[r][e];
}

template <int kRows>
void router_rows(const float* x, int64_t width, const float* w, int64_t num_experts, float* logits) {
  int64_t first = 0;
  for (; first + 8 <= num_experts; first += 8) router_tile<kRows, 8>(x, width, w, num_experts, first, logits);
  for (; first < num_experts; ++first) router_tile<kRows, 1>(x, width, w, num_experts, first, logits);
}

void router_logits(const float* x, int rows, int64_t width, const float* w, int64_t num_experts, float* logits) {
  if (rows == 4) return router_rows<4>(x, width, w, num_experts, logits);
  for (int row = 0; row < rows; ++row)
    router_rows<1>(x + row * width, width, w, num_experts, logits + row * num_experts);
}

}  // namespace
}  // namespace moesaic::cpu
