#pragma once

#include "elementwise.hpp"

/// Products with int4 matrices out of a path's ordinary ones: a group of inputs is multiplied like a leaf, then its
/// sums are scaled and added to the leaf's. Included by the files of the paths only, as elementwise.hpp is.
namespace moesaic::cpu {
namespace {  // NOLINT: a copy for each path is the purpose

/// acc(rows, 32) += sums(rows, 32) * scales(32), the product rounded. Sums are floats, or int32 that are rounded first.
template <class Sum>
MOESAIC_INLINE void add_scaled(const Sum* __restrict sums, const float* __restrict scales, int rows,
                               float* __restrict acc) {
  for (int row = 0; row < rows; ++row)
    for (int c = 0; c < kColumns; ++c)
      acc[row * kColumns + c] = acc[row * kColumns + c] + static_cast<float>(sums[row * kColumns + c]) * scales[c];
}

/// scales(32) = those that begin a packed group.
MOESAIC_INLINE void widen_scales(const std::byte* group, float* scales) {
  std::uint16_t packed[kColumns];
  std::memcpy(packed, group, sizeof(packed));
  for (int c = 0; c < kColumns; ++c) scales[c] = widen_bf16(packed[c]);
}

/// Column c of input i of a packed line (MatrixShape::int4_byte, int4_half).
[[maybe_unused]] MOESAIC_INLINE float int4_value(const std::uint8_t* line, int c, int i) {
  const unsigned both = line[c / 16 * 16 + c % 4 * 4 + i * 2 + c % 16 / 8], half = both >> (c / 4 % 2 * 4) & 15u;
  return static_cast<float>(static_cast<int>(half ^ 8u) - 8);
}

MOESAIC_INLINE int64_t group_size(int64_t first, int64_t num_steps) {
  return num_steps - first < kInt4GroupSteps ? num_steps - first : kInt4GroupSteps;
}

/// A group expanded: one line that begins with its scales as floats, then its lines.
template <decltype(Product::expand) kExpand, std::size_t kLine_bytes>
void expand_groups(const void* packed, int64_t num_steps, void* lines) {
  const auto* in = static_cast<const std::byte*>(packed);
  auto* out = static_cast<std::byte*>(lines);
  for (int64_t first = 0; first < num_steps; first += kInt4GroupSteps, in += kInt4Group_bytes) {
    const int64_t steps = group_size(first, num_steps);
    widen_scales(in, reinterpret_cast<float*>(out));
    kExpand(in + kInt4Scales_bytes, steps, out + kLine_bytes);
    out += static_cast<std::size_t>(steps + 1) * kLine_bytes;
  }
}

template <decltype(Product::tile) kTile, std::size_t kStep_bytes, std::size_t kLine_bytes, class Sum = float>
void tile_groups(int rows, const void* x, const void* lines, int64_t num_steps, float* acc, const void* next) {
  const auto *row_steps = static_cast<const std::byte*>(x), *in = static_cast<const std::byte*>(lines);
  const auto* ahead = static_cast<const char*>(next);
  for (int64_t first = 0; first < num_steps; first += kInt4GroupSteps) {
    const int64_t steps = group_size(first, num_steps);
    if (ahead)
      for (std::size_t at = 0; at < kInt4Group_bytes; at += 64) __builtin_prefetch(ahead + at);
    alignas(64) Sum sums[kMaxTileRows * kColumns];
    std::memset(sums, 0, static_cast<std::size_t>(rows * kColumns) * sizeof(Sum));
    kTile(rows, row_steps, in + kLine_bytes, steps, reinterpret_cast<float*>(sums), nullptr);
    add_scaled(sums, reinterpret_cast<const float*>(in), rows, acc);
    row_steps += static_cast<std::size_t>(steps * rows) * kStep_bytes;
    in += static_cast<std::size_t>(steps + 1) * kLine_bytes;
    if (ahead) ahead += kInt4Group_bytes;
  }
}

template <decltype(Product::direct) kDirect, std::size_t kStep_bytes>
void direct_groups(int rows, const void* x, const void* packed, int64_t num_steps, float* acc) {
  const auto *row_steps = static_cast<const std::byte*>(x), *in = static_cast<const std::byte*>(packed);
  for (int64_t first = 0; first < num_steps; first += kInt4GroupSteps, in += kInt4Group_bytes) {
    const int64_t steps = group_size(first, num_steps);
    alignas(64) float sums[kMaxTileRows * kColumns], scales[kColumns];
    std::memset(sums, 0, static_cast<std::size_t>(rows * kColumns) * sizeof(float));
    kDirect(rows, row_steps, in + kInt4Scales_bytes, steps, sums);
    widen_scales(in, scales);
    add_scaled(sums, scales, rows, acc);
    row_steps += static_cast<std::size_t>(steps * rows) * kStep_bytes;
  }
}

/// The leaf of int16 rows: the groups' sums times the row's scale.
[[maybe_unused]] void scale_rows_leaf(const float*, const LeafScale* inputs, std::size_t input_stride_bytes, int rows,
                                      const void* acc, float* leaf) {
  const auto* input = reinterpret_cast<const char*>(inputs);
  const auto* sums = static_cast<const float*>(acc);
  for (int row = 0; row < rows; ++row, input += input_stride_bytes) {
    LeafScale x;
    std::memcpy(&x, input, sizeof(x));
    for (int c = 0; c < kColumns; ++c) leaf[row * kColumns + c] = sums[row * kColumns + c] * x.scale;
  }
}

/// int16 rows, two inputs a step: kExpand makes a line's int4 int16, kTile adds up in int32, which holds a group.
template <decltype(Product::expand) kExpand, decltype(Product::tile) kTile>
constexpr Product int4x16_product(int tile_rows, int direct_rows, decltype(Product::make_steps) make_steps,
                                  decltype(Product::direct) direct) {
  constexpr std::size_t kStep_bytes = 2 * sizeof(std::int16_t), kLine_bytes = kStep_bytes * kColumns;
  return {.inputs = DType::kInt16,
          .step_inputs = 2,
          .step_bytes = kStep_bytes,
          .line_bytes = kLine_bytes,
          .tile_rows = tile_rows,
          .direct_rows = direct_rows,
          .group_steps = kInt4GroupSteps,
          .make_steps = make_steps,
          .expand = expand_groups<kExpand, kLine_bytes>,
          .tile = tile_groups<kTile, kStep_bytes, kLine_bytes, std::int32_t>,
          .direct = direct,
          .scale_leaf = scale_rows_leaf};
}

/// kInt8: the path's product with int8 matrices, whose steps and expanded lines these have too; the others: what does
/// an int4 group's lines.
template <const Product& kInt8, decltype(Product::expand) kExpand, decltype(Product::direct) kDirect>
constexpr Product int4_product(int direct_rows = kInt8.direct_rows) {
  Product product = kInt8;
  product.direct_rows = direct_rows;
  product.expand = expand_groups<kExpand, kInt8.line_bytes>;
  product.tile = tile_groups<kInt8.tile, kInt8.step_bytes, kInt8.line_bytes>;
  product.direct = kDirect;
  product.group_steps = kInt4GroupSteps;
  product.scale_leaf = nullptr;
  product.with_lowest = nullptr;
  return product;
}

}  // namespace
}  // namespace moesaic::cpu
