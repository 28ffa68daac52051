#pragma once

#include <cstddef>
#include <cstdint>

#include "config/numerics.hpp"

namespace moesaic {

/// Scale and sum of one part of a quantised row: a number x is about q * scale. `sum` is the exact sum of the part's q;
/// it lets an instruction path multiply with shifted weights and take the shift back.
struct LeafScale {
  float scale = 0;
  std::int32_t sum = 0;
};

/// A row of numbers on its way between kernels, and the one definition of how it lies in memory and travels between
/// ranks: `width` elements; behind integers, padding to a multiple of 4 bytes and a LeafScale for each part.
struct RowForm {
  DType type = DType::kF32;  ///< f32, bf16, or int8 and int16: quantised
  std::int64_t width = 0;
  std::int64_t num_parts = 1;  ///< equal parts of a quantised row, each with a scale of its own

  constexpr bool quantised() const { return type == DType::kInt8 || type == DType::kInt16; }
  constexpr std::int64_t part_size() const { return width / num_parts; }
  /// Where the scales of a quantised row begin.
  constexpr std::size_t scales_offset_bytes() const {
    return (static_cast<std::size_t>(width) * size_bytes(type) + 3) / 4 * 4;
  }
  constexpr std::size_t row_bytes() const {
    if (quantised()) return scales_offset_bytes() + static_cast<std::size_t>(num_parts) * sizeof(LeafScale);
    return static_cast<std::size_t>(width) * size_bytes(type);
  }
};

/// A row of activations (Act); q has a part for each head.
constexpr RowForm activation_row(Numerics numerics, std::int64_t width, std::int64_t num_parts = 1) {
  return {activation_type(numerics), width, num_parts};
}

/// A row of inputs of weight matrices (Input); its parts are the leaves of the matrix that takes it.
constexpr RowForm input_row(Numerics numerics, std::int64_t width, std::int64_t num_leaves = 1) {
  return {input_type(numerics), width, num_leaves};
}

/// The most inputs that a leaf may have: with int8 inputs their products with int8 weights add up to less than 2^31;
/// with int16 inputs the sum of the inputs does.
constexpr std::int64_t most_leaf_inputs(DType inputs) { return inputs == DType::kInt16 ? 65536 : 132104; }

}  // namespace moesaic
