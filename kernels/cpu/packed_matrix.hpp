#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/matrix.hpp"
#include "base/units.hpp"

namespace moesaic::cpu {

inline constexpr std::int64_t kPanelColumns = 32;

/// The one definition of how a weight matrix lies in memory, for all CPU kernels:
///
///   panel p (32 columns) -> leaf l -> line j: line_inputs() inputs of the 32 columns
///
/// int8: four inputs. A line is 128 bytes, column by column with its four inputs side by side: what instructions that
/// multiply bytes take, and with 16 columns of it one row of a tile. int16: two inputs, likewise.
///
/// Other types: two inputs, and element (column c of the panel, input i of the pair) is at pair_offset(c, i): each
/// 16-element group holds 4 columns from the first half of the panel, then 4 from the second, so that unpacking its two
/// halves to bf16 gives 16 neighbouring columns a vector. Columns and inputs of a line beyond the matrix are zero.
///
/// int4: before the pairs of a group of inputs its scales lie (32 bf16), and the 64 elements of a pair are 32 bytes:
/// element (c, i) is half int4_half(c) of byte int4_byte(c, i). Of eight 32-bit words, the first four hold columns 0 to
/// 15, four columns a shift by 4 bits, even inputs in the lower 16 bits; the others hold columns 16 to 31. Columns
/// beyond the matrix and their scales are zero; the partner of an odd last input comes with it from the store, where it
/// is zero. A leaf's last group may have fewer pairs; what then fills up a leaf to 64 bytes is never written.
struct PanelLayout : backend::MatrixShape {
  constexpr explicit PanelLayout(const backend::MatrixShape& shape) : backend::MatrixShape(shape) {}

  constexpr std::int64_t num_panels() const { return (num_columns + kPanelColumns - 1) / kPanelColumns; }
  constexpr std::int64_t padded_columns() const { return num_panels() * kPanelColumns; }
  constexpr std::int64_t line_inputs() const { return type == DType::kInt8 ? 4 : 2; }
  constexpr std::int64_t lines_per_leaf() const { return (leaf_size + line_inputs() - 1) / line_inputs(); }
  constexpr std::int64_t line_elems() const { return line_inputs() * kPanelColumns; }
  constexpr std::int64_t panel_elems() const { return num_leaves * lines_per_leaf() * line_elems(); }
  constexpr std::size_t panels_bytes() const { return static_cast<std::size_t>(num_panels()) * panel_bytes(); }
  constexpr std::size_t panel_bytes() const { return static_cast<std::size_t>(num_leaves) * leaf_bytes(); }
  /// Of a leaf in a panel.
  constexpr std::size_t leaf_bytes() const {
    const auto lines = static_cast<std::size_t>(lines_per_leaf());
    if (type != DType::kInt4x2) return lines * static_cast<std::size_t>(line_elems()) * size_bytes(type);
    const std::size_t bytes =
        static_cast<std::size_t>(int4_groups(leaf_size)) * kInt4Scales_bytes + lines * kInt4Line_bytes;
    return aligned(bytes);
  }
  /// Where the lines of a panel and leaf begin that belong to inputs from `input` on, the first of a line; int4: of a
  /// group, whose scales come first.
  constexpr std::size_t offset_bytes(std::int64_t panel, std::int64_t leaf, std::int64_t input) const {
    const std::size_t begin =
        static_cast<std::size_t>(panel) * panel_bytes() + static_cast<std::size_t>(leaf) * leaf_bytes();
    if (type != DType::kInt4x2) return begin + static_cast<std::size_t>(input * kPanelColumns) * size_bytes(type);
    return begin + static_cast<std::size_t>(input / kInt4GroupInputs) * kInt4Group_bytes;
  }
  /// One fp32 scale per leaf and (padded) column.
  constexpr std::size_t scales_bytes() const {
    return has_scales() ? static_cast<std::size_t>(num_leaves * padded_columns()) * sizeof(float) : 0;
  }
  /// Sign and magnitude: a line at the end whose first byte tells whether a weight is -128.
  constexpr std::size_t lowest_bytes() const { return type == DType::kSignMagnitude8 ? 64 : 0; }
  constexpr std::size_t total_bytes() const { return panels_bytes() + scales_bytes() + lowest_bytes(); }

  static constexpr std::int64_t pair_offset(std::int64_t column, std::int64_t input) {
    return column % 16 / 4 * 16 + column / 16 * 8 + column % 4 * 2 + input;
  }
  static constexpr std::int64_t kInt4GroupPairs = kInt4GroupInputs / 2;
  static constexpr std::size_t kInt4Scales_bytes = kPanelColumns * sizeof(Bf16);
  static constexpr std::size_t kInt4Line_bytes = kPanelColumns;
  static constexpr std::size_t kInt4Group_bytes = kInt4Scales_bytes + kInt4GroupPairs * kInt4Line_bytes;
  static constexpr std::int64_t int4_byte(std::int64_t column, std::int64_t input) {
    return column / 16 * 16 + column % 4 * 4 + input * 2 + column % 16 / 8;
  }
  static constexpr std::int64_t int4_half(std::int64_t column) { return column / 4 % 2; }

  /// Index of the element W(leaf, input, column) in the panels; not of int4.
  constexpr std::int64_t element(std::int64_t leaf, std::int64_t input, std::int64_t column) const {
    const std::int64_t in_panel = column % kPanelColumns, in_line = input % line_inputs();
    const bool by_column = type == DType::kInt8 || type == DType::kInt16;
    return column / kPanelColumns * panel_elems() + (leaf * lines_per_leaf() + input / line_inputs()) * line_elems() +
           (by_column ? in_panel * line_inputs() + in_line : pair_offset(in_panel, in_line));
  }
};

/// A packed matrix in somebody else's memory: panels first, then the scales (leaf, padded column), then has_lowest().
struct PackedMatrix {
  explicit PackedMatrix(const backend::Matrix& w) : shape(w.shape), data(w.data.address()) {}

  PanelLayout shape;
  std::byte* data;

  float* scales(std::int64_t leaf) const {
    return reinterpret_cast<float*>(data + shape.panels_bytes()) + leaf * shape.padded_columns();
  }
  /// Whether a weight is -128, whose magnitude no 7 bits hold.
  bool has_lowest() const {
    return shape.lowest_bytes() > 0 && data[shape.panels_bytes() + shape.scales_bytes()] != std::byte{0};
  }
};

}  // namespace moesaic::cpu
