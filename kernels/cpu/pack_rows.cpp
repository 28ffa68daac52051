#include <cstring>

#include "base/aligned_buffer.hpp"
#include "base/error.hpp"
#include "base/quantise.hpp"
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
Words pairs_of(const std::int16_t* inputs) {
  Words pairs;
  std::memcpy(&pairs, inputs, sizeof pairs);
  return pairs;
}
/// Floats are rounded to bf16.
Words pairs_of(const float* inputs) {
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

constexpr int kQuads = kPanelColumns / 4;

/// 16 inputs of the 32 rows of a panel: eight lines of pairs. Four rows of a pair are 16 bytes of its line.
template <class T>
void pack_block(const PanelLayout& shape, const T* rows, std::byte* lines) {
  Words block[kBlockInputs / 2][kQuads];
  for (int quad = 0; quad < kQuads; ++quad)
    for (int half = 0; half < 2; ++half) {
      Words m[4];  // (row, pair), then (pair, row)
      for (int row = 0; row < 4; ++row) m[row] = pairs_of(rows + (4 * quad + row) * shape.leaf_size + 8 * half);
      transpose(m);
      for (int pair = 0; pair < 4; ++pair) block[4 * half + pair][shape.element(0, 0, 4 * quad) / 8] = m[pair];
    }
  stream_store(&block[0][0], sizeof block / sizeof(Words), lines);
}

/// Rows [first_row, end_row), inputs from first_input on.
template <class From, class To, class Round>
void pack_elements(const PanelLayout& shape, std::int64_t first_column, std::int64_t first_row, std::int64_t end_row,
                   std::int64_t first_input, const From* rows, To* data, Round round) {
  for (std::int64_t row = first_row; row < end_row; ++row)
    for (std::int64_t input = first_input; input < shape.leaf_size; ++input)
      data[shape.element(0, input, first_column + row)] = round(rows[row * shape.leaf_size + input]);
}

/// Elements of two bytes, whole panels in blocks.
template <class From, class To, class Round>
void pack_pairs(const PanelLayout& shape, std::int64_t first_column, std::int64_t num_rows, const From* rows,
                std::byte* data, Round round) {
  const std::int64_t width = shape.leaf_size, whole_rows = num_rows / kPanelColumns * kPanelColumns,
                     whole_inputs = width / kBlockInputs * kBlockInputs;
  for (std::int64_t row = 0; row < whole_rows; row += kPanelColumns)
    for (std::int64_t input = 0; input < whole_inputs; input += kBlockInputs)
      pack_block(shape, rows + row * width + input,
                 data + static_cast<std::size_t>(shape.element(0, input, first_column + row)) * sizeof(To));
  finish_stream_stores();
  auto* elements = reinterpret_cast<To*>(data);
  pack_elements(shape, first_column, 0, whole_rows, whole_inputs, rows, elements, round);
  pack_elements(shape, first_column, whole_rows, num_rows, 0, rows, elements, round);
}

/// Each row with a scale of its own.
void pack_int16(const PanelLayout& shape, std::int64_t first_column, std::int64_t num_rows, const float* rows,
                std::byte* data) {
  thread_local AlignedBuffer integers;
  integers.reserve(static_cast<std::size_t>(num_rows * shape.leaf_size) * sizeof(std::int16_t));
  auto* const q = integers.as<std::int16_t>();
  float* const scales = reinterpret_cast<float*>(data + shape.panels_bytes()) + first_column;
  for (std::int64_t row = 0; row < num_rows; ++row)
    scales[row] = math::quantise(rows + row * shape.leaf_size, shape.leaf_size, q + row * shape.leaf_size).scale;
  pack_pairs<std::int16_t, std::int16_t>(shape, first_column, num_rows, q, data, [](std::int16_t x) { return x; });
}

}  // namespace

void pack_rows(const PanelLayout& shape, std::int64_t first_column, std::int64_t num_rows, const float* rows,
               std::byte* data) {
  const bool fits = shape.type == DType::kBf16 || shape.type == DType::kF32 || shape.type == DType::kInt16;
  MOESAIC_CHECK(fits && shape.num_leaves == 1 && first_column % kPanelColumns == 0 &&
                    first_column + num_rows <= shape.num_columns,
                "rows {}+{} into columns of {}, {} leaves, {}", first_column, num_rows, shape.num_columns,
                shape.num_leaves, name(shape.type));
  if (shape.type == DType::kBf16) return pack_pairs<float, Bf16>(shape, first_column, num_rows, rows, data, to_bf16);
  if (shape.type == DType::kInt16) return pack_int16(shape, first_column, num_rows, rows, data);
  pack_elements(shape, first_column, 0, num_rows, 0, rows, reinterpret_cast<float*>(data), [](float x) { return x; });
}

}  // namespace moesaic::cpu
