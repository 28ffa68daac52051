#include <algorithm>
#include <cstring>

#include "base/error.hpp"
#include "ops/pack_int4.hpp"

namespace moesaic::ops {
namespace {

constexpr std::int64_t kLineElems = 2 * kPanelColumns;
constexpr std::int64_t kRunPanels =
    8;  ///< panels written side by side, so that whole cache lines of a source row are read

/// One line from 32 columns of two rows. Vectors of 16 bytes, in the compiler's own notation: int8.
void interleave(const std::int8_t* even, const std::int8_t* odd, std::int8_t* line) {
  using V [[gnu::vector_size(16)]] = std::int8_t;
  using Half [[gnu::vector_size(16)]] = std::int64_t;
  V e[2], o[2], columns[4];  // columns 0-7, 8-15, 16-23, 24-31 in pairs
  std::memcpy(e, even, sizeof(e));
  std::memcpy(o, odd, sizeof(o));
  for (int i = 0; i < 2; ++i) {
    columns[2 * i] = __builtin_shufflevector(e[i], o[i], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    columns[2 * i + 1] =
        __builtin_shufflevector(e[i], o[i], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  }
  Half groups[4];
  for (int i = 0; i < 2; ++i) {
    const auto first = reinterpret_cast<Half>(columns[i]), second = reinterpret_cast<Half>(columns[2 + i]);
    groups[2 * i] = __builtin_shufflevector(first, second, 0, 2);
    groups[2 * i + 1] = __builtin_shufflevector(first, second, 1, 3);
  }
  std::memcpy(line, groups, sizeof(groups));
}

/// bf16 and float bits.
template <class T>
void interleave(const T* even, const T* odd, T* line) {
  for (int group = 0; group < 4; ++group)
    for (int half = 0; half < 2; ++half)
      for (int c = 0; c < 4; ++c) {
        const int column = half * 16 + group * 4 + c;
        T* at = line + group * 16 + half * 8 + c * 2;
        at[0] = even[column];
        at[1] = odd[column];
      }
}

/// Whole panels and whole pairs of inputs: columns [first, first + 32 * num_panels) of the source.
template <class T>
void pack_panels(const MatrixShape& shape, const PackBlock& block, std::int64_t first, std::int64_t num_panels,
                 const T* source, T* data) {
  const std::int64_t pairs = block.num_inputs / 2;
  for (std::int64_t run = 0; run < num_panels; run += kRunPanels) {
    const std::int64_t end = std::min(run + kRunPanels, num_panels);
    for (std::int64_t j = 0; j < pairs; ++j) {
      const T* rows = source + 2 * j * block.num_columns + first;
      T* lines = data + shape.element(block.leaf, block.first_input + 2 * j, block.first_column + first);
      for (std::int64_t p = run; p < end; ++p)
        interleave(rows + p * kPanelColumns, rows + block.num_columns + p * kPanelColumns,
                   lines + p * shape.panel_elems());
    }
  }
}

template <class T>
void pack_elements(const MatrixShape& shape, const PackBlock& block, std::int64_t first_input,
                   std::int64_t first_column, std::int64_t end_column, const T* source, T* data) {
  for (std::int64_t i = first_input; i < block.num_inputs; ++i)
    for (std::int64_t c = first_column; c < end_column; ++c)
      data[shape.element(block.leaf, block.first_input + i, block.first_column + c)] =
          source[i * block.num_columns + c];
}

template <class T>
void pack_block(const MatrixShape& shape, const PackBlock& block, const std::byte* source_bytes,
                std::byte* data_bytes) {
  const auto* source = reinterpret_cast<const T*>(source_bytes);
  auto* data = reinterpret_cast<T*>(data_bytes);
  const std::int64_t before =
      std::min((kPanelColumns - block.first_column % kPanelColumns) % kPanelColumns, block.num_columns);
  const std::int64_t panels = (block.num_columns - before) / kPanelColumns, after = before + panels * kPanelColumns;
  pack_elements(shape, block, 0, 0, before, source, data);
  pack_panels(shape, block, before, panels, source, data);
  pack_elements(shape, block, block.num_inputs / 2 * 2, before, after, source, data);  // an odd last input
  pack_elements(shape, block, 0, after, block.num_columns, source, data);
}

template <class T>
void clear(const MatrixShape& shape, std::byte* data_bytes) {
  auto* data = reinterpret_cast<T*>(data_bytes);
  for (std::int64_t leaf = 0; leaf < shape.num_leaves; ++leaf) {
    for (std::int64_t input = 0; input < 2 * shape.pairs_per_leaf(); ++input)
      for (std::int64_t c = shape.num_columns; c < shape.padded_columns(); ++c)
        data[shape.element(leaf, input, c)] = T{};
    if (shape.leaf_size % 2 == 1)
      for (std::int64_t c = 0; c < shape.num_columns; ++c) data[shape.element(leaf, shape.leaf_size, c)] = T{};
  }
}

}  // namespace

void pack(const MatrixShape& shape, const PackBlock& block, const std::byte* source, std::byte* data) {
  MOESAIC_CHECK(block.first_input % 2 == 0 && block.first_input + block.num_inputs <= shape.leaf_size &&
                    block.first_column + block.num_columns <= shape.num_columns && block.leaf < shape.num_leaves,
                "leaf {} inputs {}+{} columns {}+{} of ({} x {}, {})", block.leaf, block.first_input, block.num_inputs,
                block.first_column, block.num_columns, shape.num_leaves, shape.leaf_size, shape.num_columns);
  switch (shape.type) {
    case DType::kInt8:
      return pack_block<std::int8_t>(shape, block, source, data);
    case DType::kBf16:
      return pack_block<std::uint16_t>(shape, block, source, data);
    case DType::kF32:
      return pack_block<float>(shape, block, source, data);
    case DType::kInt4x2:
      return pack_int4(shape, block, source, data);
  }
}

void clear_padding(const MatrixShape& shape, std::byte* data) {
  switch (shape.type) {
    case DType::kInt8:
      return clear<std::int8_t>(shape, data);
    case DType::kBf16:
      return clear<std::uint16_t>(shape, data);
    case DType::kF32:
      return clear<float>(shape, data);
    case DType::kInt4x2:
      return clear_int4(shape, data);
  }
}

}  // namespace moesaic::ops
