#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/error.hpp"
#include "pack.hpp"

namespace moesaic::cpu {
namespace {

using backend::PackBlock;
using backend::PackScales;

/// Half a line from the bytes of 16 columns. Vectors in the compiler's own notation.
void interleave(const std::byte* columns, std::byte* line) {
  using Sixteen [[gnu::vector_size(16)]] = std::uint8_t;
  using Eight [[gnu::vector_size(8)]] = std::uint8_t;
  Sixteen v;
  std::memcpy(&v, columns, sizeof(v));
  // Columns 0-3 and 8-11 go to the lower halves of bytes, 4-7 and 12-15 to the upper ones.
  const Eight lower = __builtin_shufflevector(v, v, 0, 1, 2, 3, 8, 9, 10, 11);
  const Eight upper = __builtin_shufflevector(v, v, 4, 5, 6, 7, 12, 13, 14, 15);
  const Eight even = (lower & 0x0f) | (upper << 4), odd = (lower >> 4) | (upper & 0xf0);
  const Sixteen words = __builtin_shufflevector(even, odd, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  std::memcpy(line, &words, sizeof(words));
}

/// Writes half a byte. Its other half may be written by another thread meanwhile.
void store_half(std::byte* at, std::int64_t half, unsigned value) {
  const std::atomic_ref<std::uint8_t> byte(*reinterpret_cast<std::uint8_t*>(at));
  const unsigned shift = 4 * static_cast<unsigned>(half), others = 0xf0u >> shift;
  std::uint8_t found = byte.load(std::memory_order_relaxed);
  while (!byte.compare_exchange_weak(found, static_cast<std::uint8_t>((found & others) | value << shift),
                                     std::memory_order_relaxed)) {
  }
}

std::byte* line_at(const PanelLayout& shape, std::int64_t leaf, std::int64_t pair, std::int64_t panel,
                   std::byte* data) {
  return data + shape.offset_bytes(panel, leaf, 2 * pair) + PanelLayout::kInt4Scales_bytes +
         static_cast<std::size_t>(pair % PanelLayout::kInt4GroupPairs) * PanelLayout::kInt4Line_bytes;
}

}  // namespace

void pack_int4(const PanelLayout& shape, const PackBlock& block, const std::byte* source, std::byte* data) {
  const std::int64_t pairs = (block.num_inputs + 1) / 2, end = block.first_column + block.num_columns;
  for (std::int64_t panel = block.first_column / kPanelColumns; panel * kPanelColumns < end; ++panel) {
    const std::int64_t first = std::max(panel * kPanelColumns, block.first_column),
                       last = std::min((panel + 1) * kPanelColumns, end);
    for (std::int64_t j = 0; j < pairs; ++j) {
      std::byte* line = line_at(shape, block.leaf, block.first_input / 2 + j, panel, data);
      const std::byte* columns = source + j * block.num_columns + (first - block.first_column);
      if (last - first == kPanelColumns) {
        interleave(columns, line);
        interleave(columns + 16, line + 16);
        continue;
      }
      for (std::int64_t column = first; column < last; ++column, ++columns)
        for (std::int64_t input = 0; input < 2; ++input)
          store_half(line + PanelLayout::int4_byte(column % kPanelColumns, input),
                     PanelLayout::int4_half(column % kPanelColumns),
                     static_cast<unsigned>(*columns) >> (4 * input) & 15u);
    }
  }
}

void pack_scales(const PanelLayout& shape, const PackScales& block, const std::byte* source, std::byte* data) {
  MOESAIC_CHECK(shape.type == DType::kInt4x2 && block.leaf < shape.num_leaves &&
                    block.first_group + block.num_groups <= int4_groups(shape.leaf_size) &&
                    block.first_column + block.num_columns <= shape.num_columns,
                "leaf {} groups {}+{} columns {}+{} of ({} x {}, {})", block.leaf, block.first_group, block.num_groups,
                block.first_column, block.num_columns, shape.num_leaves, shape.leaf_size, shape.num_columns);
  for (std::int64_t group = 0; group < block.num_groups; ++group)
    for (std::int64_t c = 0, count = 0; c < block.num_columns; c += count) {
      const std::int64_t column = block.first_column + c, in_panel = column % kPanelColumns;
      count = std::min(kPanelColumns - in_panel, block.num_columns - c);
      std::memcpy(
          data +
              shape.offset_bytes(column / kPanelColumns, block.leaf, (block.first_group + group) * kInt4GroupInputs) +
              bytes_of<Bf16>(in_panel),
          source + bytes_of<Bf16>(group * block.num_columns + c), bytes_of<Bf16>(count));
    }
}

/// An odd last input has its partner in the store, as zeros; so only columns are padded.
void clear_int4(const PanelLayout& shape, std::byte* data) {
  const std::int64_t panel = shape.num_panels() - 1, first = shape.num_columns - panel * kPanelColumns;
  for (std::int64_t leaf = 0; leaf < shape.num_leaves; ++leaf)
    for (std::int64_t pair = 0; pair < shape.lines_per_leaf(); ++pair) {
      if (pair % PanelLayout::kInt4GroupPairs == 0)
        std::memset(data + shape.offset_bytes(panel, leaf, 2 * pair) + bytes_of<Bf16>(first), 0,
                    bytes_of<Bf16>(kPanelColumns - first));
      for (std::int64_t column = first; column < kPanelColumns; ++column)
        for (std::int64_t input = 0; input < 2; ++input)
          store_half(line_at(shape, leaf, pair, panel, data) + PanelLayout::int4_byte(column, input),
                     PanelLayout::int4_half(column), 0);
    }
}

}  // namespace moesaic::cpu
