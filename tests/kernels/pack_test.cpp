#include <algorithm>
#include <numeric>
#include <thread>

#include "base/error.hpp"
#include "cpu/pack.hpp"
#include "definition.hpp"

namespace moesaic::cpu::test {
namespace {

/// Every element at its place, zeroes around them, and nothing behind.
template <class T, class Expected>
void expect_packed(const PanelLayout& shape, const std::vector<std::byte>& data, Expected expected) {
  std::vector<T> packed(static_cast<std::size_t>(shape.num_panels() * shape.panel_elems()));
  std::memcpy(packed.data(), data.data(), shape.panels_bytes());
  for (std::int64_t leaf = 0; leaf < shape.num_leaves; ++leaf)
    for (std::int64_t input = 0; input < shape.lines_per_leaf() * shape.line_inputs(); ++input)
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
  const PanelLayout shape({type, leaves, leaf_size, columns});
  std::mt19937 random(7);
  std::vector<T> source(static_cast<std::size_t>(leaves * leaf_size * columns));
  std::iota(source.begin(), source.end(), T{1});
  std::vector<std::byte> data(shape.panels_bytes() + 16, std::byte{0x55});

  std::vector<backend::PackBlock> blocks;
  for (std::int64_t leaf = 0; leaf < leaves; ++leaf)
    for (std::int64_t input = 0, inputs = 0; input < leaf_size; input += inputs) {
      inputs = std::min<std::int64_t>(leaf_size - input,
                                      backend::kPackedInputs * (1 + static_cast<std::int64_t>(random() % 3)));
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
  const PanelLayout shape({type, 1, width, num_rows});
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
      check<std::int16_t>(DType::kInt16, 2, leaf_size, columns);
      check<float>(DType::kF32, 1, leaf_size, columns);
    }
}

TEST(Pack, SignAndMagnitude) {
  for (const std::int64_t columns : {1, 32, 70})
    for (const bool with_lowest : {false, true}) {
      const PanelLayout shape({DType::kSignMagnitude8, 1, 8, columns});
      std::vector<std::byte> memory(shape.total_bytes() + 64, std::byte{0x55});
      std::byte* data = memory.data() + (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64) % 64;
      std::vector<std::int8_t> source(static_cast<std::size_t>(8 * columns));
      for (std::size_t i = 0; i < source.size(); ++i) source[i] = static_cast<std::int8_t>(i * 37 % 255 - 127);
      if (with_lowest) source.back() = -128;
      begin_packing(shape, data);
      clear_padding(shape, data);
      pack(shape, {0, 0, 8, 0, columns}, reinterpret_cast<const std::byte*>(source.data()), data);
      EXPECT_EQ(PackedMatrix({shape, backend::Bytes(data)}).has_lowest(), with_lowest);
      for (std::int64_t input = 0; input < 8; ++input)
        for (std::int64_t c = 0; c < shape.padded_columns(); ++c) {
          const int weight = c < columns ? source[static_cast<std::size_t>(input * columns + c)] : 0;
          const int expected = weight >= 0 ? weight : weight == -128 ? 0x80 : 0x80 | -weight;
          EXPECT_EQ(static_cast<int>(data[shape.element(0, input, c)]), expected) << input << " " << c;
        }
    }
}

/// Numbers in blocks of any size, written by two threads; neighbouring columns share bytes.
TEST(Pack, Int4) {
  for (const std::int64_t leaf_size : {1, 2, 7, 64, 130})
    for (const std::int64_t columns : {1, 20, 32, 70, 130}) {
      const PanelLayout shape({DType::kInt4x2, 2, leaf_size, columns});
      std::mt19937 random(7);
      std::vector<std::byte> data(shape.panels_bytes() + 16, std::byte{0x55});
      const std::int64_t pairs = shape.lines_per_leaf(), groups = int4_groups(leaf_size);
      const auto weight = [&](std::int64_t leaf, std::int64_t i, std::int64_t c) {
        return i >= leaf_size ? 0 : static_cast<int>((leaf * 3 + i * 7 + i / 16 + c * 5 + c / 16) % 16);
      };
      const auto scale = [](std::int64_t leaf, std::int64_t group, std::int64_t c) {
        return static_cast<std::uint16_t>(1000 * leaf + 200 * group + c);
      };
      struct Block {
        std::int64_t leaf, first_pair, num_pairs, first_column, num_columns;
      };
      std::vector<Block> blocks;
      for (std::int64_t leaf = 0; leaf < 2; ++leaf)
        for (std::int64_t c = 0, count = 0; c < columns; c += count) {
          count = std::min<std::int64_t>(columns - c, 1 + static_cast<std::int64_t>(random() % 50));
          for (std::int64_t j = 0, num = 0; j < pairs; j += num) {
            num = std::min<std::int64_t>(pairs - j, 2 * (1 + static_cast<std::int64_t>(random() % 5)));
            blocks.push_back({leaf, j, num, c, count});
          }
        }
      std::shuffle(blocks.begin(), blocks.end(), random);
      const auto pack_half = [&](std::size_t half) {
        for (std::size_t b = half; b < blocks.size(); b += 2) {
          const auto& [leaf, first, num, first_column, count] = blocks[b];
          std::vector<std::byte> source;
          for (std::int64_t j = first; j < first + num; ++j)
            for (std::int64_t c = first_column; c < first_column + count; ++c)
              source.push_back(static_cast<std::byte>(weight(leaf, 2 * j, c) | weight(leaf, 2 * j + 1, c) << 4));
          pack(shape, {leaf, 2 * first, std::min(2 * num, leaf_size - 2 * first), first_column, count}, source.data(),
               data.data());
          if (first > 0) continue;
          std::vector<std::uint16_t> scales;
          for (std::int64_t group = 0; group < groups; ++group)
            for (std::int64_t c = first_column; c < first_column + count; ++c) scales.push_back(scale(leaf, group, c));
          pack_scales(shape, {leaf, 0, groups, first_column, count}, reinterpret_cast<const std::byte*>(scales.data()),
                      data.data());
        }
      };
      clear_padding(shape, data.data());
      std::thread other(pack_half, 1);
      pack_half(0);
      other.join();

      for (std::int64_t leaf = 0; leaf < 2; ++leaf)
        for (std::int64_t c = 0; c < shape.padded_columns(); ++c) {
          const std::int64_t panel = c / kPanelColumns, at = c % kPanelColumns;
          for (std::int64_t i = 0; i < 2 * pairs; ++i) {
            const std::int64_t pair = i / 2 % PanelLayout::kInt4GroupPairs;
            const std::size_t line = shape.offset_bytes(panel, leaf, i) + PanelLayout::kInt4Scales_bytes +
                                     static_cast<std::size_t>(pair) * PanelLayout::kInt4Line_bytes;
            const auto byte =
                static_cast<int>(data[line + static_cast<std::size_t>(PanelLayout::int4_byte(at, i % 2))]);
            ASSERT_EQ(byte >> (4 * PanelLayout::int4_half(at)) & 15, c < columns ? weight(leaf, i, c) : 0)
                << "leaf " << leaf << " input " << i << " column " << c << " of " << columns;
          }
          for (std::int64_t group = 0; group < groups; ++group) {
            std::uint16_t found = 0;
            std::memcpy(&found, data.data() + shape.offset_bytes(panel, leaf, group * kInt4GroupInputs) + 2 * at,
                        sizeof(found));
            ASSERT_EQ(found, c < columns ? scale(leaf, group, c) : 0) << "group " << group << " column " << c;
          }
        }
      for (std::size_t i = shape.panels_bytes(); i < data.size(); ++i) ASSERT_EQ(data[i], std::byte{0x55});
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
  EXPECT_THROW(pack_rows(PanelLayout({DType::kBf16, 1, 1, 64}), 16, 32, rows, bytes), std::logic_error);
  EXPECT_THROW(pack_rows(PanelLayout({DType::kBf16, 1, 1, 64}), 32, 64, rows, bytes), std::logic_error);
  EXPECT_THROW(pack_rows(PanelLayout({DType::kInt8, 1, 1, 64}), 0, 32, rows, bytes), std::logic_error);
}

TEST(Pack, RefusesBlocksOutsideTheMatrix) {
  std::byte bytes[4096] = {};
  EXPECT_THROW(pack(PanelLayout({DType::kInt8, 1, 4, 8}), {0, 1, 2, 0, 8}, bytes, bytes), std::logic_error);
  EXPECT_THROW(pack(PanelLayout({DType::kInt8, 1, 4, 8}), {0, 4, 4, 0, 8}, bytes, bytes), std::logic_error);
  EXPECT_THROW(pack(PanelLayout({DType::kInt8, 1, 4, 8}), {0, 0, 4, 4, 8}, bytes, bytes), std::logic_error);
}

}  // namespace
}  // namespace moesaic::cpu::test
