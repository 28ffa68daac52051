#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/denormals.hpp"
#include "base/math.hpp"
#include "base/parallel.hpp"
#include "cpu/cpu_backend.hpp"

/// docs/numerics.md as scalar code, written from that page and not from the kernels; and what the tests
/// share.
namespace moesaic::cpu::test {

using namespace math;

/// An address as kernels of the CPU backend take it.
template <class T>
backend::Ptr<T> at(T* host) {
  return backend::Ptr<T>(host);
}
inline backend::Bytes at(void* host) { return backend::Bytes(static_cast<std::byte*>(host)); }
inline backend::ConstBytes at(const void* host) { return backend::ConstBytes(static_cast<const std::byte*>(host)); }

/// Where the tests' kernels are launched.
inline backend::Queue& queue() {
  static const auto backend = open_cpu(Isa::kPortable, Numerics::kF32);
  static const auto queue = backend->make_queue();
  return *queue;
}

/// A path in a numeric mode, and matrices that it is tested with.
struct Mode {
  Isa isa;
  Numerics numerics;
  DType weights = DType::kInt8;
  const backend::Kernels& kernels() const { return open_cpu(isa, numerics)->kernels(); }
  bool f32() const { return numerics == Numerics::kF32; }
};

inline std::vector<Mode> modes() {
  flush_denormals();
  std::vector<Mode> list{{Isa::kPortable, Numerics::kF32}};
  for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512})
    for (const Numerics numerics : {Numerics::kW8A16, Numerics::kW8A8})
      if (supported(isa)) list.push_back({isa, numerics, packed_type(WeightFormat::kInt8, numerics)});
  return list;
}
/// The same for products with matrices: of every type that the mode takes.
inline std::vector<Mode> matrix_modes() {
  std::vector<Mode> list = modes();
  for (const DType weights : {DType::kBf16, DType::kInt4x2}) list.push_back({Isa::kPortable, Numerics::kF32, weights});
  for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
    if (!supported(isa)) continue;
    list.push_back({isa, Numerics::kW16A16, DType::kBf16});
    list.push_back({isa, Numerics::kW4A16, DType::kInt4x2});
  }
  return list;
}
inline std::string mode_name(const testing::TestParamInfo<Mode>& info) {
  return std::string(name(info.param.isa)) + "_" + std::string(name(info.param.numerics)) + "_" +
         name(info.param.weights);
}

class KernelTest : public testing::TestWithParam<Mode> {
 protected:
  void SetUp() override { flush_denormals(); }
  void TearDown() override { set_threads(2); }
  static void set_threads(int num_threads) {
    make_team({.num_threads = num_threads, .spin = false, .at_start = [](int) { flush_denormals(); }});
  }
  std::mt19937 random{42};
  float normal() { return std::normal_distribution<float>()(random); }
};

/// The value that an activation keeps of x.
inline float rounded(Numerics numerics, float x) { return numerics == Numerics::kF32 ? x : to_float(to_bf16(x)); }

/// Sum of n products x(i) w(i) in the order of the mode.
template <class X, class W>
float dot(Numerics numerics, std::int64_t n, X x, W w) {
  float acc = 0;
  if (numerics == Numerics::kF32) {
    for (std::int64_t i = 0; i < n; ++i) acc = acc + x(i) * w(i);
    return acc;
  }
  for (std::int64_t i = 0; i < n; i += 2) {
    acc = i + 1 < n ? std::fma(x(i + 1), w(i + 1), acc) : std::fma(0.0f, 0.0f, acc);
    acc = std::fma(x(i), w(i), acc);
  }
  return acc;
}

/// ((0+1)+(2+3))+((4+5)+(6+7)), for 1, 2, 4, 8 or 16 values.
inline float tree(const std::vector<float>& v, std::size_t first, std::size_t count) {
  return count == 1 ? v[first] : tree(v, first, count / 2) + tree(v, first + count / 2, count / 2);
}

/// Sum of values in 16 lanes, value i in lane i mod 16, then the lanes as a tree.
inline float lane_sum(const std::vector<float>& values) {
  std::vector<float> lanes(16, 0.0f);
  for (std::size_t i = 0; i < values.size(); ++i) lanes[i % 16] = lanes[i % 16] + values[i];
  return tree(lanes, 0, 16);
}

/// Activations of a mode in memory.
class Activations {
 public:
  Activations(Numerics numerics, std::size_t size) : numerics_(numerics), data_(size * bytes()) {}
  void* data() { return data_.data(); }
  const void* data() const { return data_.data(); }
  std::size_t bytes() const { return size_bytes(activation_type(numerics_)); }
  const void* at(std::int64_t i) const { return data_.data() + static_cast<std::size_t>(i) * bytes(); }
  void* at(std::int64_t i) { return data_.data() + static_cast<std::size_t>(i) * bytes(); }
  float operator[](std::int64_t i) const {
    if (numerics_ == Numerics::kF32) return load<float>(i);
    return to_float(load<Bf16>(i));
  }
  void set(std::int64_t i, float x) {
    if (numerics_ == Numerics::kF32) std::memcpy(at(i), &x, sizeof(x));
    const Bf16 b = to_bf16(x);
    if (numerics_ != Numerics::kF32) std::memcpy(at(i), &b, sizeof(b));
  }
  bool same_bytes(const Activations& other) const { return data_ == other.data_; }

 private:
  template <class T>
  T load(std::int64_t i) const {
    T x;
    std::memcpy(&x, at(i), sizeof(x));
    return x;
  }
  Numerics numerics_;
  std::vector<std::byte> data_;
};

/// Rows of GEMM inputs in memory, made from numbers by the definition.
class Inputs {
 public:
  Inputs(const GemmInput& form, std::int64_t num_rows)
      : form_(form), data_(form.row_bytes() * static_cast<std::size_t>(num_rows)) {}
  void* data() { return data_.data(); }
  const void* data() const { return data_.data(); }
  const GemmInput& form() const { return form_; }
  const void* row(std::int64_t row) const { return at(row); }
  void* row(std::int64_t row) { return at(row); }
  bool same_bytes(const Inputs& other) const { return data_ == other.data_; }

  void set(std::int64_t row, const std::vector<float>& x) {
    if (!form_.quantised()) {
      Activations rounded_row(form_.numerics, x.size());
      for (std::int64_t i = 0; i < form_.width; ++i) rounded_row.set(i, x[static_cast<std::size_t>(i)]);
      std::memcpy(at(row), rounded_row.data(), form_.row_bytes());
      return;
    }
    for (std::int64_t leaf = 0; leaf < form_.num_leaves; ++leaf) set_leaf(row, leaf, x);
  }

  /// An activation, or the integer of a quantised row.
  float value(std::int64_t row, std::int64_t i) const {
    if (form_.quantised()) return static_cast<float>(static_cast<std::int8_t>(at(row)[i]));
    Activations one(form_.numerics, 1);
    std::memcpy(one.data(), at(row) + static_cast<std::size_t>(i) * one.bytes(), one.bytes());
    return one[0];
  }
  LeafScale scale(std::int64_t row, std::int64_t leaf) const {
    LeafScale scale;
    std::memcpy(&scale, at(row) + scale_offset(leaf), sizeof(scale));
    return scale;
  }

 private:
  std::byte* at(std::int64_t row) { return data_.data() + form_.row_bytes() * static_cast<std::size_t>(row); }
  const std::byte* at(std::int64_t row) const {
    return data_.data() + form_.row_bytes() * static_cast<std::size_t>(row);
  }
  std::size_t scale_offset(std::int64_t leaf) const {
    return form_.scales_offset_bytes() + static_cast<std::size_t>(leaf) * sizeof(LeafScale);
  }

  void set_leaf(std::int64_t row, std::int64_t leaf, const std::vector<float>& x) {
    const std::int64_t size = form_.width / form_.num_leaves, first = leaf * size;
    float largest = 0;
    bool finite = true;
    for (std::int64_t i = first; i < first + size; ++i) {
      const float magnitude = std::fabs(x[static_cast<std::size_t>(i)]);
      finite = finite && std::isfinite(magnitude);
      largest = std::max(largest, magnitude);
    }
    LeafScale scale{finite ? largest / 127.0f : NAN, 0};
    const bool zeros = !finite || largest < 0x1p-100f;
    if (finite && zeros) scale.scale = 0;
    for (std::int64_t i = first; i < first + size; ++i) {
      const float scaled = zeros ? 0.0f : x[static_cast<std::size_t>(i)] * (127.0f / largest);
      const auto q = static_cast<std::int8_t>(std::nearbyint(scaled));
      at(row)[i] = static_cast<std::byte>(q);
      scale.sum += q;
    }
    std::memcpy(at(row) + scale_offset(leaf), &scale, sizeof(scale));
  }

  GemmInput form_;
  std::vector<std::byte> data_;
};

inline std::uint32_t bits(float x) { return std::bit_cast<std::uint32_t>(x); }

/// A value that no result has, to see whether it was overwritten.
inline constexpr float kGuard = -12345.0f;

}  // namespace moesaic::cpu::test
