#include "pack.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/error.hpp"
#include "stream_store.hpp"

namespace moesaic::cpu {
namespace {

using backend::PackBlock;

/// Panels written side by side, so that whole cache lines of a source row are read.
constexpr std::int64_t kRunPanels = 2;

// One line from 32 columns of two rows, by vectors of 16 bytes in the compiler's own notation.

template <class Vector, class T>
Vector load(const T* from) {
  Vector vector;
  std::memcpy(&vector, from, sizeof vector);
  return vector;
}

using Int8x16 [[gnu::vector_size(16)]] = std::int8_t;

/// Elements as they are.
struct AsIs {
  template <class T>
  T operator()(T x) const {
    return x;
  }
};

/// int8 to sign and magnitude; remembers whether there was a -128.
class SignMagnitude {
 public:
  Int8x16 operator()(Int8x16 x) {
    lowest_ |= x == -128;
    const Int8x16 sign = x < 0;
    return (((x ^ sign) - sign) & 127) | (sign & -128);
  }
  std::int8_t operator()(std::int8_t x) { return (*this)(Int8x16{x})[0]; }
  bool had_lowest() const {
    using Halves [[gnu::vector_size(16)]] = std::int64_t;
    const auto halves = reinterpret_cast<Halves>(lowest_);
    return (halves[0] | halves[1]) != 0;
  }

 private:
  Int8x16 lowest_ = {};
};

/// int8: four rows, each column's side by side.
void interleave(const std::int8_t* rows, std::int64_t width, std::int8_t* line, AsIs&) {
  using Pairs [[gnu::vector_size(16)]] = std::int16_t;
  Pairs columns[8];  // four columns each
  for (int i = 0; i < 2; ++i) {
    Pairs pairs[4];  // of the rows 0 and 1, 2 and 3: columns 0 to 7, 8 to 15 of this half
    for (int two = 0; two < 2; ++two) {
      const std::int8_t* from = rows + 2 * two * width + 16 * i;
      const auto a = load<Int8x16>(from), b = load<Int8x16>(from + width);
      pairs[two] = reinterpret_cast<Pairs>(
          __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));
      pairs[2 + two] = reinterpret_cast<Pairs>(
          __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31));
    }
    for (int eight = 0; eight < 2; ++eight) {
      const Pairs first = pairs[2 * eight], second = pairs[2 * eight + 1];
      columns[4 * i + 2 * eight] = __builtin_shufflevector(first, second, 0, 8, 1, 9, 2, 10, 3, 11);
      columns[4 * i + 2 * eight + 1] = __builtin_shufflevector(first, second, 4, 12, 5, 13, 6, 14, 7, 15);
    }
  }
  stream_store(columns, 8, line);
}

/// int8 as sign and magnitude, a pair of rows.
void interleave(const std::int8_t* even, std::int64_t width, std::int8_t* line, SignMagnitude& encode) {
  using V = Int8x16;
  const std::int8_t* odd = even + width;
  using Half [[gnu::vector_size(16)]] = std::int64_t;
  Half columns[4];  // 0-7, 8-15, 16-23, 24-31, in pairs
  for (int i = 0; i < 2; ++i) {
    const V e = encode(load<V>(even + 16 * i)), o = encode(load<V>(odd + 16 * i));
    columns[2 * i] =
        reinterpret_cast<Half>(__builtin_shufflevector(e, o, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));
    columns[2 * i + 1] = reinterpret_cast<Half>(
        __builtin_shufflevector(e, o, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31));
  }
  Half groups[4];
  for (int i = 0; i < 2; ++i) {
    groups[2 * i] = __builtin_shufflevector(columns[i], columns[2 + i], 0, 2);
    groups[2 * i + 1] = __builtin_shufflevector(columns[i], columns[2 + i], 1, 3);
  }
  stream_store(groups, 4, line);
}

/// int16, a pair of rows, each column's side by side.
void interleave(const std::int16_t* even, std::int64_t width, std::int16_t* line, AsIs&) {
  using V [[gnu::vector_size(16)]] = std::int16_t;
  V columns[8];  // four columns each
  for (int i = 0; i < 4; ++i) {
    const V e = load<V>(even + 8 * i), o = load<V>(even + width + 8 * i);
    columns[2 * i] = __builtin_shufflevector(e, o, 0, 8, 1, 9, 2, 10, 3, 11);
    columns[2 * i + 1] = __builtin_shufflevector(e, o, 4, 12, 5, 13, 6, 14, 7, 15);
  }
  stream_store(columns, 8, line);
}

/// bf16.
void interleave(const std::uint16_t* even, std::int64_t width, std::uint16_t* line, AsIs&) {
  const std::uint16_t* odd = even + width;
  using V [[gnu::vector_size(16)]] = std::uint16_t;
  V groups[8];  // four columns each
  for (int i = 0; i < 4; ++i) {
    const V e = load<V>(even + 8 * i), o = load<V>(odd + 8 * i);
    V* at = groups + PanelLayout::pair_offset(8 * i, 0) / 8;
    at[0] = __builtin_shufflevector(e, o, 0, 8, 1, 9, 2, 10, 3, 11);
    at[2] = __builtin_shufflevector(e, o, 4, 12, 5, 13, 6, 14, 7, 15);
  }
  stream_store(groups, 8, line);
}

void interleave(const float* even, std::int64_t width, float* line, AsIs&) {
  const float* odd = even + width;
  using V [[gnu::vector_size(16)]] = float;
  V columns[16];  // two each
  for (int i = 0; i < 8; ++i) {
    const V e = load<V>(even + 4 * i), o = load<V>(odd + 4 * i);
    V* at = columns + PanelLayout::pair_offset(4 * i, 0) / 4;
    at[0] = __builtin_shufflevector(e, o, 0, 4, 1, 5);
    at[1] = __builtin_shufflevector(e, o, 2, 6, 3, 7);
  }
  stream_store(columns, 16, line);
}

/// Whole panels and whole lines: columns [first, first + 32 * num_panels) of the source.
template <class T, class Encode>
void pack_panels(const PanelLayout& shape, const PackBlock& block, std::int64_t first, std::int64_t num_panels,
                 const T* source, T* data, Encode& encode) {
  // Read once: to the compiler the stores below might change shape and block.
  const std::int64_t inputs = shape.line_inputs(), num_lines = block.num_inputs / inputs, width = block.num_columns,
                     line_elems = shape.line_elems(), panel_elems = shape.panel_elems();
  for (std::int64_t run = 0; run < num_panels; run += kRunPanels) {
    const std::int64_t first_of_run = first + run * kPanelColumns, count = std::min(kRunPanels, num_panels - run);
    const T* rows = source + first_of_run;
    T* lines = data + shape.element(block.leaf, block.first_input, block.first_column + first_of_run);
    for (std::int64_t j = 0; j < num_lines; ++j, rows += inputs * width, lines += line_elems)
      for (std::int64_t p = 0; p < count; ++p)
        interleave(rows + p * kPanelColumns, width, lines + p * panel_elems, encode);
  }
  finish_stream_stores();
}

template <class T, class Encode>
void pack_elements(const PanelLayout& shape, const PackBlock& block, std::int64_t first_input,
                   std::int64_t first_column, std::int64_t end_column, const T* source, T* data, Encode& encode) {
  for (std::int64_t i = first_input; i < block.num_inputs; ++i)
    for (std::int64_t c = first_column; c < end_column; ++c)
      data[shape.element(block.leaf, block.first_input + i, block.first_column + c)] =
          encode(source[i * block.num_columns + c]);
}

template <class T, class Encode>
void pack_block(const PanelLayout& shape, const PackBlock& block, const std::byte* source_bytes, std::byte* data_bytes,
                Encode&& encode) {
  const auto* source = reinterpret_cast<const T*>(source_bytes);
  auto* data = reinterpret_cast<T*>(data_bytes);
  const std::int64_t before =
      std::min((kPanelColumns - block.first_column % kPanelColumns) % kPanelColumns, block.num_columns);
  const std::int64_t panels = (block.num_columns - before) / kPanelColumns, after = before + panels * kPanelColumns;
  pack_elements(shape, block, 0, 0, before, source, data, encode);
  pack_panels(shape, block, before, panels, source, data, encode);
  const std::int64_t whole = block.num_inputs / shape.line_inputs() * shape.line_inputs();
  pack_elements(shape, block, whole, before, after, source, data, encode);
  pack_elements(shape, block, 0, after, block.num_columns, source, data, encode);
}

std::byte& lowest(const PanelLayout& shape, std::byte* data) {
  return data[shape.panels_bytes() + shape.scales_bytes()];
}

void pack_sign_magnitude(const PanelLayout& shape, const PackBlock& block, const std::byte* source, std::byte* data) {
  SignMagnitude encode;
  pack_block<std::int8_t>(shape, block, source, data, encode);
  // By several threads at once, but all write the same.
  if (encode.had_lowest()) std::atomic_ref(lowest(shape, data)).store(std::byte{1}, std::memory_order_relaxed);
}

template <class T>
void clear(const PanelLayout& shape, std::byte* data_bytes) {
  auto* data = reinterpret_cast<T*>(data_bytes);
  for (std::int64_t leaf = 0; leaf < shape.num_leaves; ++leaf) {
    const std::int64_t end = shape.lines_per_leaf() * shape.line_inputs();
    for (std::int64_t input = 0; input < end; ++input)
      for (std::int64_t c = shape.num_columns; c < shape.padded_columns(); ++c)
        data[shape.element(leaf, input, c)] = T{};
    for (std::int64_t input = shape.leaf_size; input < end; ++input)
      for (std::int64_t c = 0; c < shape.num_columns; ++c) data[shape.element(leaf, input, c)] = T{};
  }
}

}  // namespace

void pack(const PanelLayout& shape, const PackBlock& block, const std::byte* source, std::byte* data) {
  MOESAIC_CHECK(block.first_input % backend::kPackedInputs == 0 &&
                    block.first_input + block.num_inputs <= shape.leaf_size &&
                    block.first_column + block.num_columns <= shape.num_columns && block.leaf < shape.num_leaves,
                "leaf {} inputs {}+{} columns {}+{} of ({} x {}, {})", block.leaf, block.first_input, block.num_inputs,
                block.first_column, block.num_columns, shape.num_leaves, shape.leaf_size, shape.num_columns);
  switch (shape.type) {
    case DType::kInt8:
      return pack_block<std::int8_t>(shape, block, source, data, AsIs());
    case DType::kInt16:
      return pack_block<std::int16_t>(shape, block, source, data, AsIs());
    case DType::kBf16:
      return pack_block<std::uint16_t>(shape, block, source, data, AsIs());
    case DType::kF32:
      return pack_block<float>(shape, block, source, data, AsIs());
    case DType::kInt4x2:
      return pack_int4(shape, block, source, data);
    case DType::kSignMagnitude8:
      return pack_sign_magnitude(shape, block, source, data);
  }
}

void begin_packing(const PanelLayout& shape, std::byte* data) {
  if (shape.lowest_bytes() > 0) lowest(shape, data) = std::byte{0};
}

void clear_padding(const PanelLayout& shape, std::byte* data) {
  switch (shape.type) {
    case DType::kInt8:
    case DType::kSignMagnitude8:
      return clear<std::int8_t>(shape, data);
    case DType::kInt16:
    case DType::kBf16:
      return clear<std::uint16_t>(shape, data);
    case DType::kF32:
      return clear<float>(shape, data);
    case DType::kInt4x2:
      return clear_int4(shape, data);
  }
}

}  // namespace moesaic::cpu
