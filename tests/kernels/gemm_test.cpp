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
  Matrix m{.shape = shape,
           .weights = {},
           .scales = {},
           .memory = std::vector<std::byte>(shape.total_bytes() + 64)};
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
         source.data() +
             source.size() / static_cast<std::size_t>(shape.num_leaves) * static_cast<std::size_t>(leaf),
         data);
  for (std::int64_t leaf = 0; shape.type == DType::kInt8 && leaf < shape.num_leaves; ++leaf)
    for (std::int64_t c = 0; c < shape.num_columns; ++c) {
      m.scales.push_back(0.01f * std::normal_distribution<float>()(random));
      const_cast<float*>(m.packed().scales(leaf))[c] = m.scales.back();
    }
  return m;
}

float product(Numerics numerics, const Activations& x, std::int64_t row_start, const Matrix& m,
              std::int64_t column) {
  std::vector<float> leaves;
  for (std::int64_t leaf = 0; leaf < m.shape.num_leaves; ++leaf) {
    const float sum = dot(
        numerics, m.shape.leaf_size,
        [&](std::int64_t i) { return x[row_start + leaf * m.shape.leaf_size + i]; },
        [&](std::int64_t i) { return m.weight(leaf, i, column); });
    leaves.push_back(m.scales.empty()
                         ? sum
                         : sum * m.scales[static_cast<std::size_t>(leaf * m.shape.num_columns + column)]);
  }
  return tree(leaves, 0, leaves.size());
}

class GemmTest : public KernelTest {
 protected:
  Activations random_rows(std::int64_t rows, std::int64_t stride) {
    Activations x(GetParam().numerics, static_cast<std::size_t>(rows * stride + 1));
    for (std::int64_t i = 0; i < rows * stride; ++i) x.set(i, random() % 16 == 0 ? 0.0f : normal());
    return x;
  }

  void check(const MatrixShape& shape, std::int64_t rows) {
    const Matrix m = random_matrix(random, shape);
    const std::int64_t x_stride = shape.num_leaves * shape.leaf_size + 3, y_stride = shape.num_columns + 5;
    const Activations x = random_rows(rows, x_stride);
    std::vector<float> y(static_cast<std::size_t>(rows * y_stride + 1), kGuard);
    GetParam().kernels().gemm(x.data(), x_stride, rows, m.packed(), y.data(), y_stride);
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t c = 0; c < y_stride; ++c) {
        const float expected =
            c < shape.num_columns ? product(GetParam().numerics, x, row * x_stride, m, c) : kGuard;
        ASSERT_EQ(bits(y[static_cast<std::size_t>(row * y_stride + c)]), bits(expected))
            << y[static_cast<std::size_t>(row * y_stride + c)] << " is not " << expected << " at row " << row
            << " of " << rows << ", column " << c << " of " << shape.num_columns << ", " << shape.num_leaves
            << " leaves of " << shape.leaf_size;
      }
    ASSERT_EQ(y.back(), kGuard);
  }
};

TEST_P(GemmTest, OddSizes) {
  for (const std::int64_t leaves : {1, 2, 4, 8})
    for (const std::int64_t leaf_size : {1, 7, 20})
      for (const std::int64_t columns : {1, 31, 33, 70})
        for (const std::int64_t rows : {0, 1, 2, 5, 13})
          check({DType::kInt8, leaves, leaf_size, columns}, rows);
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
    for (const std::int64_t columns : {5, 70})
      check({activation_type(GetParam().numerics), 1, 131, columns}, rows);
}

TEST_P(GemmTest, Threads) {
  for (const int threads : {1, 2, 3}) {
    omp_set_num_threads(threads);
    check({DType::kInt8, 4, 40, 200}, 13);
    check({DType::kInt8, 1, 40, 32}, 100);
  }
}

TEST_P(GemmTest, ARowIsTheSameInAnyCompany) {
  const MatrixShape shape{DType::kInt8, 4, 300, 40};
  const Matrix m = random_matrix(random, shape);
  const std::int64_t stride = shape.num_leaves * shape.leaf_size, rows = 50;
  const Activations x = random_rows(rows, stride);
  std::vector<float> all(static_cast<std::size_t>(rows * shape.num_columns)), some(all.size());
  GetParam().kernels().gemm(x.data(), stride, rows, m.packed(), all.data(), shape.num_columns);
  for (std::int64_t first = 0, count = 1; first < rows;
       first += count, count = std::min(count + 1, rows - first))
    GetParam().kernels().gemm(x.at(first * stride), stride, count, m.packed(),
                              some.data() + first * shape.num_columns, shape.num_columns);
  EXPECT_EQ(std::memcmp(all.data(), some.data(), all.size() * sizeof(float)), 0);
}

TEST_P(GemmTest, SubnormalsAreZeros) {
  const MatrixShape shape{DType::kInt8, 1, 2, 3};
  const Matrix m = random_matrix(random, shape);
  Activations x(GetParam().numerics, 2);
  const std::uint16_t subnormal =
      0x0001;  // as bf16; as float 0x0001 in the lower half of a pair is subnormal too
  std::memcpy(x.data(), &subnormal, sizeof(subnormal));
  float y[3];
  GetParam().kernels().gemm(x.data(), 2, 1, m.packed(), y, 3);
  for (const float value : y) EXPECT_EQ(value, 0.0f);
}

TEST_P(GemmTest, GatedGelu) {
  for (const std::int64_t rows : {0, 1, 2, 8, 9, 40})
    for (const std::int64_t columns : {1, 33, 64}) {
      const MatrixShape shape{DType::kInt8, 1, 75, columns};
      const Matrix gate = random_matrix(random, shape), up = random_matrix(random, shape);
      const std::int64_t x_stride = shape.leaf_size + 1, h_stride = columns + 2;
      const Activations x = random_rows(rows, x_stride);
      Activations h(GetParam().numerics, static_cast<std::size_t>(rows * h_stride + 1)), expected = h;
      for (std::int64_t i = 0; i <= rows * h_stride; ++i) h.set(i, kGuard), expected.set(i, kGuard);
      GetParam().kernels().gated_gelu(x.data(), x_stride, rows, gate.packed(), up.packed(), h.data(),
                                      h_stride);
      for (std::int64_t row = 0; row < rows; ++row)
        for (std::int64_t c = 0; c < columns; ++c) {
          const float g = product(GetParam().numerics, x, row * x_stride, gate, c),
                      u = product(GetParam().numerics, x, row * x_stride, up, c);
          const float inner = 0.7978845608f * (g + 0.044715f * (g * g * g));
          const float fast = g / (1.0f + exp_f32(-2.0f * inner));
          expected.set(row * h_stride + c, (GetParam().numerics == Numerics::kF32 ? gelu_exact(g) : fast) * u);
        }
      EXPECT_TRUE(h.same_bytes(expected)) << rows << " rows, " << columns << " columns";
    }
}

INSTANTIATE_TEST_SUITE_P(Paths, GemmTest, testing::ValuesIn(modes()), mode_name);

}  // namespace
}  // namespace moesaic::ops::test
