#include <algorithm>
#include <numeric>
#include <thread>

#include "base/error.hpp"
#include "definition.hpp"

namespace moesaic::ops::test {
namespace {

/// Every element at its place, zeroes around them, and nothing behind.
template <class T, class Expected>
void expect_packed(const MatrixShape& shape, const std::vector<std::byte>& data, Expected expected) {
  std::vector<T> packed(static_cast<std::size_t>(shape.num_panels() * shape.panel_elems()));
  std::memcpy(packed.data(), data.data(), shape.panels_bytes());
  for (std::int64_t leaf = 0; leaf < shape.num_leaves; ++leaf)
    for (std::int64_t input = 0; input < 2 * shape.pairs_per_leaf(); ++input)
      for (std::int64_t column = 0; column < shape.padded_columns(); ++column) {
        const bool inside = input < shape.leaf_size && column < shape.num_columns;
        const T found = packed[static_cast<std::size_t>(shape.element(leaf, input, column))];
        ASSERT_EQ(found, inside ? expected(leaf, input, column) : T{})
            << "leaf " << leaf << " input " << input << " column " << column << " of " << shape.num_columns;
      }
  for (std::size_t i = shape.panels_bytes(); i < data.size(); ++i) ASSERT_EQ(data[i], std::byte{0x55});
}

/// Packs a matrix in blocks of any size and order, in two threads, and looks up every element.
template <class T>
void check(DType type, std::int64_t leaves, std::int64_t leaf_size, std::int64_t columns) {
  static_assert(std::is_integral_v<T> || std::is_same_v<T, float>);
  const MatrixShape shape{type, leaves, leaf_size, columns};
  std::mt19937 random(7);
  std::vector<T> source(static_cast<std::size_t>(leaves * leaf_size * columns));
  std::iota(source.begin(), source.end(), T{1});
  std::vector<std::byte> data(shape.panels_bytes() + 16, std::byte{0x55});

  std::vector<PackBlock> blocks;
  for (std::int64_t leaf = 0; leaf < leaves; ++leaf)
    for (std::int64_t input = 0, inputs = 0; input < leaf_size; input += inputs) {
      inputs = std::min<std::int64_t>(leaf_size - input, 2 * (1 + static_cast<std::int64_t>(random() % 5)));
      for (std::int64_t column = 0, count = 0; column < columns; column += count) {
        count = std::min<std::int64_t>(columns - column, 1 + static_cast<std::int64_t>(random() % 100));
        blocks.push_back({leaf, input, inputs, column, count});
      }
    }
  std::shuffle(blocks.begin(), blocks.end(), random);
  const auto pack_half = [&](std::size_t half) {
    for (std::size_t b = half; b < blocks.size(); b += 2) {
      std::vector<T> piece;
      for (std::int64_t i = 0; i < blocks[b].num_inputs; ++i) {
        const auto row = source.begin() + (blocks[b].leaf * leaf_size + blocks[b].first_input + i) * columns +
                         blocks[b].first_column;
        piece.insert(piece.end(), row, row + blocks[b].num_columns);
      }
      pack(shape, blocks[b], reinterpret_cast<const std::byte*>(piece.data()), data.data());
    }
  };
  clear_padding(shape, data.data());
  std::thread other(pack_half, 1);
  pack_half(0);
  other.join();

  expect_packed<T>(shape, data, [&](std::int64_t leaf, std::int64_t input, std::int64_t column) {
    return source[static_cast<std::size_t>((leaf * leaf_size + input) * columns + column)];
  });
}

/// Floats of all kinds: everyday ones, ties and their neighbours, subnormal, infinite, NaN.
float any_float(std::mt19937& random) {
  const auto bits = static_cast<std::uint32_t>(random());
  switch (random() % 4) {
    case 0:
      return std::bit_cast<float>((bits & 0xffff0000u) + 0x7fffu + bits % 3);
    case 1:
      return std::bit_cast<float>(bits & 0x807fffffu);
    case 2:
      return std::bit_cast<float>(bits | 0x7f800000u);
    default:
      return std::bit_cast<float>(bits);
  }
}

/// Packs the rows of a table, 64 at a time in any order; compares bits.
template <class Bits, class Round>
void check_rows(DType type, std::int64_t width, std::int64_t num_rows, Round round) {
  const MatrixShape shape{type, 1, width, num_rows};
  std::mt19937 random(11);
  std::vector<float> table(static_cast<std::size_t>(width * num_rows));
  std::generate(table.begin(), table.end(), [&] { return any_float(random); });
  std::vector<std::byte> data(shape.panels_bytes() + 16, std::byte{0x55});

  constexpr std::int64_t kRows = 64;
  for (std::int64_t row = (num_rows - 1) / kRows * kRows; row >= 0; row -= kRows) {
    const auto from = table.begin() + row * width;
    const std::int64_t count = std::min(kRows, num_rows - row);
    const std::vector<float> piece(from, from + count * width);  // apart, so that sanitizers see its end
    pack_rows(shape, row, count, piece.data(), data.data());
  }
  clear_padding(shape, data.data());
  expect_packed<Bits>(shape, data, [&](std::int64_t, std::int64_t input, std::int64_t column) {
    return std::bit_cast<Bits>(round(table[static_cast<std::size_t>(column * width + input)]));
  });
}

TEST(Pack, EveryElementAtItsPlace) {
  for (const std::int64_t leaf_size : {1, 2, 7, 48})
    for (const std::int64_t columns : {1, 32, 70, 300, 640}) {
      check<std::int8_t>(DType::kInt8, 2, leaf_size, columns);
      check<std::uint16_t>(DType::kBf16, 1, leaf_size, columns);
      check<float>(DType::kF32, 1, leaf_size, columns);
    }
}

TEST(Pack, RowsOfATableBecomeColumns) {
  flush_denormals();  // as in every thread that loads
  for (const std::int64_t width : {1, 2, 7, 16, 33, 48, 160})
    for (const std::int64_t num_rows : {1, 31, 32, 33, 64, 70, 200}) {
      check_rows<std::uint16_t>(DType::kBf16, width, num_rows, to_bf16);
      check_rows<std::uint32_t>(DType::kF32, width, num_rows, [](float x) { return x; });
    }
}

TEST(Pack, RefusesRowsInsideAPanel) {
  std::byte bytes[8192] = {};
  const float rows[64] = {};
  EXPECT_THROW(pack_rows({DType::kBf16, 1, 1, 64}, 16, 32, rows, bytes), std::logic_error);
  EXPECT_THROW(pack_rows({DType::kBf16, 1, 1, 64}, 32, 64, rows, bytes), std::logic_error);
  EXPECT_THROW(pack_rows({DType::kInt8, 1, 1, 64}, 0, 32, rows, bytes), std::logic_error);
}

TEST(Pack, RefusesBlocksOutsideTheMatrix) {
  std::byte bytes[4096] = {};
  EXPECT_THROW(pack({DType::kInt8, 1, 4, 8}, {0, 1, 2, 0, 8}, bytes, bytes), std::logic_error);
  EXPECT_THROW(pack({DType::kInt8, 1, 4, 8}, {0, 2, 4, 0, 8}, bytes, bytes), std::logic_error);
  EXPECT_THROW(pack({DType::kInt8, 1, 4, 8}, {0, 0, 4, 4, 8}, bytes, bytes), std::logic_error);
}

}  // namespace
}  // namespace moesaic::ops::test
