#pragma once

#include <cstddef>
#include <cstdint>

#include "config/numerics.hpp"

namespace moesaic {

/// Scale and sum of one leaf of a quantised row: an input x is about q * scale. `sum` is the exact sum of the leaf's q;
/// it lets an instruction path multiply with shifted weights and take the shift back.
struct LeafScale {
  float scale = 0;
  std::int32_t sum = 0;
};

/// The most inputs that a leaf of a quantised row may have: their products with int8 weights add up to less than 2^31.
inline constexpr std::int64_t kMostQuantisedInputs = 132104;

/// A row of inputs of int8 weights, and the one definition of how it lies in memory and travels between ranks: `width`
/// activations; in w8a8 `width` int8 values, padding to a multiple of 4, and a LeafScale for each leaf.
struct GemmInput {
  Numerics numerics = Numerics::kF32;
  std::int64_t width = 0;
  std::int64_t num_leaves = 1;  ///< leaves of the matrix that takes the row; each has a scale of its own in the row

  constexpr bool quantised() const { return numerics == Numerics::kW8A8; }
  /// Where the leaf scales begin in a quantised row.
  constexpr std::size_t scales_offset_bytes() const { return (static_cast<std::size_t>(width) + 3) / 4 * 4; }
  constexpr std::size_t row_bytes() const {
    if (quantised()) return scales_offset_bytes() + static_cast<std::size_t>(num_leaves) * sizeof(LeafScale);
    return static_cast<std::size_t>(width) * size_bytes(activation_type(numerics));
  }
};

}  // namespace moesaic
