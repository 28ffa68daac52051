#include <cstring>

#include "base/error.hpp"
#include "pack.hpp"
#include "stream_store.hpp"

namespace moesaic::cpu {
namespace {

constexpr std::int64_t kBlockInputs = 16;  ///< a cache line of each row, read only once

/// Four floats, or four pairs of bf16. The compiler's own notation: one form for all instruction sets.
using Words [[gnu::vector_size(16)]] = std::uint32_t;

/// to_bf16 of four floats, in the lower halves.
Words rounded(Words u) {
  const Words high = u >> 16;
  const Words tiny = high & 0x8000u, nan = high | 0x40u, nearest = (u + 0x7fffu + (high & 1u)) >> 16;
  return (u & 0x7f800000u) == 0 ? tiny : (u & 0x7fffffffu) > 0x7f800000u ? nan : nearest;
}

/// Eight inputs of a row as four pairs, the even input in the lower half.
Words rounded_pairs(const float* inputs) {
  Words first, second;
  std::memcpy(&first, inputs, sizeof first);
  std::memcpy(&second, inputs + 4, sizeof second);
  return rounded(__builtin_shufflevector(first, second, 0, 2, 4, 6)) |
         rounded(__builtin_shufflevector(first, second, 1, 3, 5, 7)) << 16;
}

void transpose(Words (&m)[4]) {
  const Words a = __builtin_shufflevector(m[0], m[1], 0, 4, 1, 5), b = __builtin_shufflevector(m[2], m[3], 0, 4, 1, 5);
  const Words c = __builtin_shufflevector(m[0], m[1], 2, 6, 3, 7), d = __builtin_shufflevector(m[2], m[3], 2, 6, 3, 7);
  m[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
  m[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
  m[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
  m[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
}

/// 16 inputs of the 32 rows of a panel: eight lines of bf16. Four rows of a pair are 16 bytes of its line.
void pack_block(const float* rows, std::int64_t width, std::byte* lines) {
  constexpr int kQuads = kPanelColumns / 4;
  Words block[kBlockInputs / 2][kQuads];
  for (int quad = 0; quad < kQuads; ++quad)
    for (int half = 0; half < 2; ++half) {
      Words m[4];  // (row, pair), then (pair, row)
      for (int row = 0; row < 4; ++row) m[row] = rounded_pairs(rows + (4 * quad + row) * width + 8 * half);
      transpose(m);
      for (int pair = 0; pair < 4; ++pair) block[4 * half + pair][PanelLayout::pair_offset(4 * quad, 0) / 8] = m[pair];
    }
  stream_store(&block[0][0], sizeof block / sizeof(Words), lines);
}

/// Rows [first_row, end_row), inputs from first_input on.
template <class T, class Round>
void pack_elements(const PanelLayout& shape, std::int64_t first_column, std::int64_t first_row, std::int64_t end_row,
                   std::int64_t first_input, const float* rows, T* data, Round round) {
  for (std::int64_t row = first_row; row < end_row; ++row)
    for (std::int64_t input = first_input; input < shape.leaf_size; ++input)
      data[shape.element(0, input, first_column + row)] = round(rows[row * shape.leaf_size + input]);
}

void pack_bf16(const PanelLayout& shape, std::int64_t first_column, std::int64_t num_rows, const float* rows,
               std::byte* data) {
  const std::int64_t width = shape.leaf_size, whole_rows = num_rows / kPanelColumns * kPanelColumns,
                     whole_inputs = width / kBlockInputs * kBlockInputs;
  for (std::int64_t row = 0; row < whole_rows; row += kPanelColumns)
    for (std::int64_t input = 0; input < whole_inputs; input += kBlockInputs)
      pack_block(rows + row * width + input, width, data + bytes_of<Bf16>(shape.element(0, input, first_column + row)));
  finish_stream_stores();
  auto* elements = reinterpret_cast<Bf16*>(data);
  pack_elements(shape, first_column, 0, whole_rows, whole_inputs, rows, elements, to_bf16);
  pack_elements(shape, first_column, whole_rows, num_rows, 0, rows, elements, to_bf16);
}

}  // namespace

void pack_rows(const PanelLayout& shape, std::int64_t first_column, std::int64_t num_rows, const float* rows,
               std::byte* data) {
  MOESAIC_CHECK(!shape.has_scales() && shape.num_leaves == 1 && first_column % kPanelColumns == 0 &&
                    first_column + num_rows <= shape.num_columns,
                "rows {}+{} into columns of {}, {} leaves, {}", first_column, num_rows, shape.num_columns,
                shape.num_leaves, name(shape.type));
  if (shape.type == DType::kBf16) return pack_bf16(shape, first_column, num_rows, rows, data);
  pack_elements(shape, first_column, 0, num_rows, 0, rows, reinterpret_cast<float*>(data), [](float x) { return x; });
}

}  // namespace moesaic::cpu
