#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/dtypes.hpp"

namespace moesaic::converters {

/// A piece of an int8 matrix.
struct Int8Piece {
  std::span<const std::int8_t> weights;  ///< (inputs, columns)
  std::span<const float> scales;         ///< (columns)
  std::int64_t inputs() const { return std::ssize(weights) / columns(); }
  std::int64_t columns() const { return std::ssize(scales); }
};

/// into(inputs, columns) = bf16(int8 * scale), the product in fp32.
void to_bf16(const Int8Piece& piece, std::span<Bf16> into);

/// Groups of kInt4GroupInputs inputs get a scale a column that makes the sum of squared errors least of those tried
/// (docs/numerics.md): q into weights(pairs of inputs, columns), the even input in the lower half of a byte, and
/// scales(groups, columns). Error when a weight is not finite.
void to_int4(const Int8Piece& piece, std::span<std::uint8_t> weights, std::span<Bf16> scales);

}  // namespace moesaic::converters
