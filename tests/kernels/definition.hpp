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
    for (const Numerics numerics : {Numerics::kW8A16, Numerics::kW8A8, Numerics::kW8I16})
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
    list.push_back({isa, Numerics::kW4I16, DType::kInt4x2});
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

/// What is left of x where a value of the type is kept; integers are rounded with others (quantise).
inline float rounded(DType type, float x) { return type == DType::kBf16 ? to_float(to_bf16(x)) : x; }

/// Numbers as integers with a scale.
struct Quantised {
  std::vector<std::int32_t> values;
  float scale = 0;
  std::int64_t sum = 0;  ///< of the integers
};

/// int8 or int16.
inline Quantised quantise(DType type, const std::vector<float>& x) {
  const float most = type == DType::kInt8 ? 127.0f : 32639.0f;
  float largest = 0;
  bool finite = true;
  for (const float value : x) {
    finite = finite && std::isfinite(value);
    largest = std::max(largest, std::fabs(value));
  }
  const bool zeros = !finite || largest < 0x1p-100f;
  Quantised q;
  q.scale = !finite ? NAN : zeros ? 0.0f : largest / most;
  for (const float value : x) {
    const float scaled = zeros ? 0.0f : value * (most / largest);
    q.values.push_back(static_cast<std::int32_t>(std::nearbyint(scaled)));
    q.sum += q.values.back();
  }
  return q;
}

/// Sum of n products x(i) w(i) in the order for inputs of a type.
template <class X, class W>
float dot(DType type, std::int64_t n, X x, W w) {
  float acc = 0;
  if (type == DType::kF32) {
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

/// Rows of a form in memory, made from numbers by the definition.
class Rows {
 public:
  Rows(const RowForm& form, std::int64_t num_rows)
      : form_(form), data_(form.row_bytes() * static_cast<std::size_t>(num_rows)) {}
  void* data() { return data_.data(); }
  const void* data() const { return data_.data(); }
  const RowForm& form() const { return form_; }
  const void* row(std::int64_t row) const { return at(row); }
  void* row(std::int64_t row) { return at(row); }
  bool same_bytes(const Rows& other) const { return data_ == other.data_; }

  void set(std::int64_t row, const std::vector<float>& x) {
    if (form_.quantised()) {
      for (std::int64_t part = 0; part < form_.num_parts; ++part) set_part(row, part, x);
      return;
    }
    for (std::int64_t i = 0; i < form_.width; ++i) {
      const float value = x[static_cast<std::size_t>(i)];
      const Bf16 half = to_bf16(value);
      std::memcpy(element(row, i), form_.type == DType::kF32 ? static_cast<const void*>(&value) : &half,
                  size_bytes(form_.type));
    }
  }

  /// A number as it lies there: of a quantised row the integer.
  float value(std::int64_t row, std::int64_t i) const {
    switch (form_.type) {
      case DType::kF32:
        return load<float>(row, i);
      case DType::kBf16:
        return to_float(load<Bf16>(row, i));
      case DType::kInt8:
        return load<std::int8_t>(row, i);
      default:
        return load<std::int16_t>(row, i);
    }
  }
  /// What it stands for, times a factor.
  float real(std::int64_t row, std::int64_t i, float factor = 1) const {
    if (!form_.quantised()) return value(row, i) * factor;
    return (value(row, i) * scale(row, i / form_.part_size()).scale) * factor;
  }
  LeafScale scale(std::int64_t row, std::int64_t part) const {
    LeafScale scale;
    std::memcpy(&scale, at(row) + scale_offset(part), sizeof(scale));
    return scale;
  }

 private:
  std::byte* at(std::int64_t row) { return data_.data() + form_.row_bytes() * static_cast<std::size_t>(row); }
  const std::byte* at(std::int64_t row) const {
    return data_.data() + form_.row_bytes() * static_cast<std::size_t>(row);
  }
  std::byte* element(std::int64_t row, std::int64_t i) {
    return at(row) + static_cast<std::size_t>(i) * size_bytes(form_.type);
  }
  template <class T>
  T load(std::int64_t row, std::int64_t i) const {
    T x;
    std::memcpy(&x, at(row) + static_cast<std::size_t>(i) * sizeof(T), sizeof(T));
    return x;
  }
  std::size_t scale_offset(std::int64_t part) const {
    return form_.scales_offset_bytes() + static_cast<std::size_t>(part) * sizeof(LeafScale);
  }

  void set_part(std::int64_t row, std::int64_t part, const std::vector<float>& x) {
    const std::int64_t size = form_.part_size(), first = part * size;
    const Quantised q = quantise(form_.type, {x.begin() + first, x.begin() + first + size});
    for (std::int64_t i = 0; i < size; ++i)
      std::memcpy(element(row, first + i), &q.values[static_cast<std::size_t>(i)], size_bytes(form_.type));
    const LeafScale scale{q.scale, static_cast<std::int32_t>(q.sum)};
    std::memcpy(at(row) + scale_offset(part), &scale, sizeof(scale));
  }

  RowForm form_;
  std::vector<std::byte> data_;
};

inline std::uint32_t bits(float x) { return std::bit_cast<std::uint32_t>(x); }

/// A value that no result has, to see whether it was overwritten.
inline constexpr float kGuard = -12345.0f;

}  // namespace moesaic::cpu::test
