#include <algorithm>

#include "definition.hpp"

namespace moesaic::ops::test {
namespace {

/// A matrix as plain numbers and packed.
struct Matrix {
  MatrixShape shape;
  std::vector<float> weights;  ///< (leaf, input, column)
  std::vector<float> scales;   ///< (leaf, column)
  std::vector<std::byte> memory;

  float weight(std::int64_t leaf, std::int64_t i, std::int64_t c) const {
    return weights[static_cast<std::size_t>((leaf * shape.leaf_size + i) * shape.num_columns + c)];
  }
  PackedMatrix packed() const {
    const auto at = reinterpret_cast<std::uintptr_t>(memory.data());
    return {shape, memory.data() + (64 - at % 64) % 64};
  }
};

Matrix random_matrix(std::mt19937& random, const MatrixShape& shape) {
  Matrix m{.shape = shape, .weights = {}, .scales = {}, .memory = std::vector<std::byte>(shape.total_bytes() + 64)};
  const auto n = static_cast<std::size_t>(shape.num_leaves * shape.leaf_size * shape.num_columns);
  auto* data = const_cast<std::byte*>(m.packed().data);
  clear_padding(shape, data);
  std::vector<std::byte> source(n * size_bytes(shape.type));
  for (std::size_t i = 0; i < n; ++i) {
    const auto byte = static_cast<std::int8_t>(random() % 8 == 0 ? -128 + static_cast<int>(random() % 3)
                                                                 : static_cast<int>(random() % 256) - 128);
    const float real = std::normal_distribution<float>()(random);
    const Bf16 half = to_bf16(real);
    m.weights.push_back(shape.type == DType::kInt8   ? static_cast<float>(byte)
                        : shape.type == DType::kBf16 ? to_float(half)
                                                     : real);
    const void* from = shape.type == DType::kInt8   ? static_cast<const void*>(&byte)
                       : shape.type == DType::kBf16 ? static_cast<const void*>(&half)
                                                    : &real;
    std::memcpy(source.data() + i * size_bytes(shape.type), from, size_bytes(shape.type));
  }
  for (std::int64_t leaf = 0; leaf < shape.num_leaves; ++leaf)
    pack(shape, {leaf, 0, shape.leaf_size, 0, shape.num_columns},
         source.data() + source.size() / static_cast<std::size_t>(shape.num_leaves) * static_cast<std::size_t>(leaf),
         data);
  for (std::int64_t leaf = 0; shape.type == DType::kInt8 && leaf < shape.num_leaves; ++leaf)
    for (std::int64_t c = 0; c < shape.num_columns; ++c) {
      m.scales.push_back(0.01f * std::normal_distribution<float>()(random));
      const_cast<float*>(m.packed().scales(leaf))[c] = m.scales.back();
    }
  return m;
}

/// The sum of a quantised leaf is exact; then the row's scale, then the column's.
float leaf_sum(const Inputs& x, std::int64_t row, const Matrix& m, std::int64_t leaf, std::int64_t column) {
  const auto value = [&](std::int64_t i) { return x.value(row, leaf * m.shape.leaf_size + i); };
  const auto weight = [&](std::int64_t i) { return m.weight(leaf, i, column); };
  if (!x.form().quantised()) return dot(x.form().numerics, m.shape.leaf_size, value, weight);
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < m.shape.leaf_size; ++i) sum += static_cast<std::int64_t>(value(i) * weight(i));
  return static_cast<float>(sum) * x.scale(row, leaf).scale;
}

float product(const Inputs& x, std::int64_t row, const Matrix& m, std::int64_t column) {
  std::vector<float> leaves;
  for (std::int64_t leaf = 0; leaf < m.shape.num_leaves; ++leaf) {
    const float sum = leaf_sum(x, row, m, leaf, column);
    leaves.push_back(m.scales.empty() ? sum
                                      : sum * m.scales[static_cast<std::size_t>(leaf * m.shape.num_columns + column)]);
  }
  return tree(leaves, 0, leaves.size());
}

class GemmTest : public KernelTest {
 protected:
  /// Rows for a matrix. Of the head's rows nothing is quantised; leaves of zeros and of one size come now and
  /// then.
  Inputs random_rows(std::int64_t rows, const MatrixShape& shape) {
    const bool head = shape.type != DType::kInt8 && !GetParam().f32();
    const std::int64_t width = shape.num_leaves * shape.leaf_size;
    Inputs x({head ? Numerics::kW8A16 : GetParam().numerics, width, shape.num_leaves}, rows);
    for (std::int64_t row = 0; row < rows; ++row) {
      std::vector<float> values;
      for (std::int64_t leaf = 0; leaf < shape.num_leaves; ++leaf) {
        const unsigned kind = random() % 16;
        for (std::int64_t i = 0; i < shape.leaf_size; ++i)
          values.push_back(kind == 0 || random() % 16 == 0 ? 0.0f : kind == 1 ? -3.0f : normal());
      }
      x.set(row, values);
    }
    return x;
  }

  void check(const MatrixShape& shape, std::int64_t rows) {
    const Matrix m = random_matrix(random, shape);
    const std::int64_t y_stride = shape.num_columns + 5;
    const Inputs x = random_rows(rows, shape);
    std::vector<float> y(static_cast<std::size_t>(rows * y_stride + 1), kGuard);
    GetParam().kernels().gemm(x.data(), rows, m.packed(), y.data(), y_stride);
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t c = 0; c < y_stride; ++c) {
        const float expected = c < shape.num_columns ? product(x, row, m, c) : kGuard;
        ASSERT_EQ(bits(y[static_cast<std::size_t>(row * y_stride + c)]), bits(expected))
            << y[static_cast<std::size_t>(row * y_stride + c)] << " is not " << expected << " at row " << row << " of "
            << rows << ", column " << c << " of " << shape.num_columns << ", " << shape.num_leaves << " leaves of "
            << shape.leaf_size;
      }
    ASSERT_EQ(y.back(), kGuard);
  }
};

TEST_P(GemmTest, OddSizes) {
  for (const std::int64_t leaves : {1, 2, 4, 8})
    for (const std::int64_t leaf_size : {1, 7, 20})
      for (const std::int64_t columns : {1, 31, 33, 70})
        for (const std::int64_t rows : {0, 1, 2, 5, 13}) check({DType::kInt8, leaves, leaf_size, columns}, rows);
}

TEST_P(GemmTest, EveryRowCountOfATile) {
  for (std::int64_t rows = 1; rows <= 26; ++rows) check({DType::kInt8, 2, 22, 40}, rows);
}

TEST_P(GemmTest, ManyRowsAndLongLeaves) {
  check({DType::kInt8, 1, 530, 65}, 48);
  check({DType::kInt8, 8, 20, 33}, 200);
  check({DType::kInt8, 2, 600, 32}, 1);
}

TEST_P(GemmTest, HeadWeightsAreActivations) {
  for (const std::int64_t rows : {1, 3, 12, 30})
    for (const std::int64_t columns : {5, 70}) check({activation_type(GetParam().numerics), 1, 131, columns}, rows);
}

TEST_P(GemmTest, Threads) {
  for (const int threads : {1, 2, 3}) {
    set_threads(threads);
    check({DType::kInt8, 4, 40, 200}, 13);
    check({DType::kInt8, 1, 40, 32}, 100);
  }
}

TEST_P(GemmTest, ARowIsTheSameInAnyCompany) {
  const MatrixShape shape{DType::kInt8, 4, 300, 40};
  const Matrix m = random_matrix(random, shape);
  const std::int64_t rows = 50;
  const Inputs x = random_rows(rows, shape);
  std::vector<float> all(static_cast<std::size_t>(rows * shape.num_columns)), some(all.size());
  GetParam().kernels().gemm(x.data(), rows, m.packed(), all.data(), shape.num_columns);
  for (std::int64_t first = 0, count = 1; first < rows; first += count, count = std::min(count + 1, rows - first))
    GetParam().kernels().gemm(x.row(first), count, m.packed(), some.data() + first * shape.num_columns,
                              shape.num_columns);
  EXPECT_EQ(std::memcmp(all.data(), some.data(), all.size() * sizeof(float)), 0);
}

/// The largest sums there are: in all paths and tiles they fit.
TEST_P(GemmTest, ExtremesOfQuantisedRows) {
  if (GetParam().numerics != Numerics::kW8A8) GTEST_SKIP() << "rows of w8a8 only";
  const MatrixShape shape{DType::kInt8, 1, kMostQuantisedInputs, 2};
  Matrix m = random_matrix(random, shape);
  const std::vector<std::byte> lowest(static_cast<std::size_t>(shape.leaf_size * shape.num_columns), std::byte{0x80});
  std::fill(m.weights.begin(), m.weights.end(), -128.0f);
  pack(shape, {0, 0, shape.leaf_size, 0, shape.num_columns}, lowest.data(), const_cast<std::byte*>(m.packed().data));
  for (const std::int64_t rows : {1, 13}) {
    Inputs x({Numerics::kW8A8, shape.leaf_size, 1}, rows);
    for (std::int64_t row = 0; row < rows; ++row)
      x.set(row, std::vector<float>(static_cast<std::size_t>(shape.leaf_size), row % 2 == 0 ? 1.0f : -1.0f));
    std::vector<float> y(static_cast<std::size_t>(rows * 2));
    GetParam().kernels().gemm(x.data(), rows, m.packed(), y.data(), 2);
    for (std::int64_t i = 0; i < rows * 2; ++i)
      EXPECT_EQ(bits(y[static_cast<std::size_t>(i)]), bits(product(x, i / 2, m, i % 2)));
  }
}

TEST_P(GemmTest, SubnormalsAreZeros) {
  if (GetParam().numerics == Numerics::kW8A8) GTEST_SKIP() << "see RowsTest";
  const MatrixShape shape{DType::kInt8, 1, 2, 3};
  const Matrix m = random_matrix(random, shape);
  Activations x(GetParam().numerics, 2);
  const std::uint16_t subnormal = 0x0001;  // as bf16; as float 0x0001 in the lower half of a pair is subnormal too
  std::memcpy(x.data(), &subnormal, sizeof(subnormal));
  float y[3];
  GetParam().kernels().gemm(x.data(), 1, m.packed(), y, 3);
  for (const float value : y) EXPECT_EQ(value, 0.0f);
}

TEST_P(GemmTest, GatedGelu) {
  struct Sizes {
    std::int64_t columns, leaves;
  };
  for (const std::int64_t rows : {0, 1, 2, 8, 9, 40})
    for (const auto& [columns, leaves] : {Sizes{1, 1}, {33, 1}, {64, 8}, {72, 2}}) {
      const MatrixShape shape{DType::kInt8, 1, 75, columns};
      const Matrix gate = random_matrix(random, shape), up = random_matrix(random, shape);
      const Inputs x = random_rows(rows, shape);
      const GemmInput form{GetParam().numerics, columns, leaves};
      Inputs h(form, rows + 1), expected = h;  // the last row guards
      std::memset(h.row(rows), 0x5a, form.row_bytes());
      std::memset(expected.row(rows), 0x5a, form.row_bytes());
      GetParam().kernels().gated_gelu(x.data(), rows, gate.packed(), up.packed(), leaves, h.data());
      for (std::int64_t row = 0; row < rows; ++row) {
        std::vector<float> values;
        for (std::int64_t c = 0; c < columns; ++c) {
          const float g = product(x, row, gate, c), u = product(x, row, up, c);
          const float inner = 0.7978845608f * (g + 0.044715f * (g * g * g));
          const float fast = g / (1.0f + exp_f32(-2.0f * inner));
          values.push_back((GetParam().f32() ? gelu_exact(g) : fast) * u);
        }
        expected.set(row, values);
      }
      EXPECT_TRUE(h.same_bytes(expected)) << rows << " rows, " << columns << " columns, " << leaves << " leaves";
    }
}

INSTANTIATE_TEST_SUITE_P(Paths, GemmTest, testing::ValuesIn(modes()), mode_name);

}  // namespace
}  // namespace moesaic::ops::test
