#include <algorithm>
#include <numeric>
#include <thread>

#include "base/error.hpp"
#include "definition.hpp"

namespace moesaic::ops::test {
namespace {

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

  std::vector<T> packed(static_cast<std::size_t>(shape.num_panels() * shape.panel_elems()));
  std::memcpy(packed.data(), data.data(), shape.panels_bytes());
  for (std::int64_t leaf = 0; leaf < leaves; ++leaf)
    for (std::int64_t input = 0; input < 2 * shape.pairs_per_leaf(); ++input)
      for (std::int64_t column = 0; column < shape.padded_columns(); ++column) {
        const bool inside = input < leaf_size && column < columns;
        const T expected =
            inside ? source[static_cast<std::size_t>((leaf * leaf_size + input) * columns + column)] : T{};
        const T found = packed[static_cast<std::size_t>(shape.element(leaf, input, column))];
        ASSERT_EQ(found, expected) << "leaf " << leaf << " input " << input << " column " << column << " of "
                                   << columns;
      }
  for (std::size_t i = shape.panels_bytes(); i < data.size(); ++i) ASSERT_EQ(data[i], std::byte{0x55});
}

TEST(Pack, EveryElementAtItsPlace) {
  for (const std::int64_t leaf_size : {1, 2, 7, 48})
    for (const std::int64_t columns : {1, 32, 70, 300, 640}) {
      check<std::int8_t>(DType::kInt8, 2, leaf_size, columns);
      check<std::uint16_t>(DType::kBf16, 1, leaf_size, columns);
      check<float>(DType::kF32, 1, leaf_size, columns);
    }
}

TEST(Pack, RefusesBlocksOutsideTheMatrix) {
  std::byte bytes[4096] = {};
  EXPECT_THROW(pack({DType::kInt8, 1, 4, 8}, {0, 1, 2, 0, 8}, bytes, bytes), std::logic_error);
  EXPECT_THROW(pack({DType::kInt8, 1, 4, 8}, {0, 2, 4, 0, 8}, bytes, bytes), std::logic_error);
  EXPECT_THROW(pack({DType::kInt8, 1, 4, 8}, {0, 0, 4, 4, 8}, bytes, bytes), std::logic_error);
}

}  // namespace
}  // namespace moesaic::ops::test
