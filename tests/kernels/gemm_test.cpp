#include <algorithm>
#include <array>

#include "base/quantise.hpp"
#include "definition.hpp"

namespace moesaic::cpu::test {
namespace {

using backend::MatrixShape;

backend::Packer& packer() {
  static const auto backend = open_cpu(Isa::kPortable, Numerics::kF32);
  return backend->packer();
}

/// A matrix as plain numbers and packed.
struct Matrix {
  MatrixShape shape;
  std::vector<float> weights;  ///< (leaf, input, column)
  std::vector<float> scales;   ///< (leaf, column), int4: (leaf, group, column); or none
  std::vector<std::byte> memory;

  float weight(std::int64_t leaf, std::int64_t i, std::int64_t c) const {
    return weights[static_cast<std::size_t>((leaf * shape.leaf_size + i) * shape.num_columns + c)];
  }
  std::int64_t groups() const { return shape.type == DType::kInt4x2 ? int4_groups(shape.leaf_size) : 1; }
  float scale(std::int64_t leaf, std::int64_t group, std::int64_t c) const {
    return scales[static_cast<std::size_t>((leaf * groups() + group) * shape.num_columns + c)];
  }
  backend::Matrix packed() const {
    const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
    return {shape, backend::Bytes(const_cast<std::byte*>(memory.data()) + (64 - address % 64) % 64)};
  }
};

/// A weight that the type can hold; its ends and zeros come often.
float random_weight(std::mt19937& random, DType type) {
  if (type == DType::kInt4x2) return static_cast<float>(static_cast<int>(random() % 16) - 8);
  if (type == DType::kInt8 || type == DType::kSignMagnitude8)
    return static_cast<float>(random() % 8 == 0 ? -128 + static_cast<int>(random() % 3)
                                                : static_cast<int>(random() % 256) - 128);
  if (type == DType::kInt16) {
    constexpr float kMost = math::kMostQuantised<std::int16_t>;
    return random() % 8 == 0 ? (random() % 2 == 0 ? kMost : -kMost)
                             : static_cast<float>(static_cast<int>(random() % 65279) - 32639);
  }
  const float real = std::normal_distribution<float>()(random);
  return type == DType::kBf16 ? to_float(to_bf16(real)) : real;
}

/// A leaf (input, column) as a store has it.
std::vector<std::byte> stored(const Matrix& m, std::int64_t leaf) {
  const auto columns = static_cast<std::size_t>(m.shape.num_columns);
  const bool in_pairs = m.shape.type == DType::kInt4x2;
  const auto rows = static_cast<std::size_t>(in_pairs ? (m.shape.leaf_size + 1) / 2 : m.shape.leaf_size);
  const std::size_t elem_bytes = size_bytes(m.shape.type);
  std::vector<std::byte> bytes(rows * columns * elem_bytes);
  for (std::int64_t i = 0; i < m.shape.leaf_size; ++i)
    for (std::int64_t c = 0; c < m.shape.num_columns; ++c) {
      const float weight = m.weight(leaf, i, c);
      const auto row = static_cast<std::size_t>(in_pairs ? i / 2 : i);
      std::byte* at = bytes.data() + (row * columns + static_cast<std::size_t>(c)) * elem_bytes;
      const Bf16 half = to_bf16(weight);
      if (in_pairs) *at |= static_cast<std::byte>((static_cast<int>(weight) & 15) << (i % 2 * 4));
      if (m.shape.type == DType::kInt8 || m.shape.type == DType::kSignMagnitude8)
        *at = static_cast<std::byte>(static_cast<int>(weight));
      const auto integer = static_cast<std::int16_t>(weight);
      if (m.shape.type == DType::kInt16) std::memcpy(at, &integer, sizeof(integer));
      if (m.shape.type == DType::kBf16) std::memcpy(at, &half, sizeof(half));
      if (m.shape.type == DType::kF32) std::memcpy(at, &weight, sizeof(weight));
    }
  return bytes;
}

void fill_scales(std::mt19937& random, Matrix& m) {
  const auto scale = [&] { return to_float(to_bf16(0.01f * std::normal_distribution<float>()(random))); };
  for (std::int64_t leaf = 0; leaf < m.shape.num_leaves; ++leaf) {
    std::vector<Bf16> halves;
    for (std::int64_t i = 0; i < m.groups() * m.shape.num_columns; ++i) {
      m.scales.push_back(scale());
      halves.push_back(to_bf16(m.scales.back()));
    }
    if (m.shape.type == DType::kInt4x2)
      packer().pack_scales(m.packed(), {leaf, 0, m.groups(), 0, m.shape.num_columns},
                           reinterpret_cast<const std::byte*>(halves.data()));
    else
      packer().set_scales(m.packed(), leaf, 0, std::span(m.scales).last(static_cast<std::size_t>(m.shape.num_columns)));
  }
}

Matrix random_matrix(std::mt19937& random, const MatrixShape& shape) {
  Matrix m{
      .shape = shape, .weights = {}, .scales = {}, .memory = std::vector<std::byte>(packer().size_bytes(shape) + 64)};
  const bool has_lowest = random() % 2 == 0;  // which paths multiply in a way of its own
  for (std::int64_t i = 0; i < shape.num_leaves * shape.leaf_size * shape.num_columns; ++i) {
    const float weight = random_weight(random, shape.type);
    m.weights.push_back(weight == -128 && !has_lowest ? -127 : weight);
  }
  packer().begin(m.packed());
  packer().clear_padding(m.packed());
  for (std::int64_t leaf = 0; leaf < shape.num_leaves; ++leaf)
    packer().pack(m.packed(), {leaf, 0, shape.leaf_size, 0, shape.num_columns}, stored(m, leaf).data());
  if (shape.has_scales() || shape.type == DType::kInt4x2) fill_scales(random, m);
  return m;
}

/// A leaf of y. The sum of a quantised one is exact; then the row's scale, then the column's.
float leaf_of(const Rows& x, std::int64_t row, const Matrix& m, std::int64_t leaf, std::int64_t column) {
  const auto value = [&](std::int64_t i) { return x.value(row, leaf * m.shape.leaf_size + i); };
  const auto weight = [&](std::int64_t i) { return m.weight(leaf, i, column); };
  if (x.form().quantised() && m.shape.type == DType::kInt4x2) {
    float sum = 0;
    for (std::int64_t group = 0; group < m.groups(); ++group) {
      const std::int64_t first = group * kInt4GroupInputs, end = std::min(m.shape.leaf_size, first + kInt4GroupInputs);
      std::int64_t exact = 0;
      for (std::int64_t i = first; i < end; ++i)
        exact += static_cast<std::int64_t>(value(i)) * static_cast<std::int64_t>(weight(i));
      sum = sum + static_cast<float>(exact) * m.scale(leaf, group, column);
    }
    return sum * x.scale(row, leaf).scale;
  }
  if (x.form().quantised()) {
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < m.shape.leaf_size; ++i)
      sum += static_cast<std::int64_t>(value(i)) * static_cast<std::int64_t>(weight(i));
    return (static_cast<float>(sum) * x.scale(row, leaf).scale) * m.scale(leaf, 0, column);
  }
  if (m.shape.type != DType::kInt4x2) {
    const float sum = dot(x.form().type, m.shape.leaf_size, value, weight);
    return m.scales.empty() ? sum : sum * m.scale(leaf, 0, column);
  }
  float sum = 0;
  for (std::int64_t group = 0; group < m.groups(); ++group) {
    const std::int64_t first = group * kInt4GroupInputs, size = std::min(m.shape.leaf_size - first, kInt4GroupInputs);
    sum = sum + dot(
                    x.form().type, size, [&](std::int64_t i) { return value(first + i); },
                    [&](std::int64_t i) { return weight(first + i); }) *
                    m.scale(leaf, group, column);
  }
  return sum;
}

float product(const Rows& x, std::int64_t row, const Matrix& m, std::int64_t column) {
  std::vector<float> leaves;
  for (std::int64_t leaf = 0; leaf < m.shape.num_leaves; ++leaf) leaves.push_back(leaf_of(x, row, m, leaf, column));
  return tree(leaves, 0, leaves.size());
}

class GemmTest : public KernelTest {
 protected:
  /// Rows for a matrix. Of the head's rows nothing is quantised; leaves of zeros and of one size come now and
  /// then.
  Rows random_rows(std::int64_t rows, const MatrixShape& shape) {
    const bool head_of_w8a8 = shape.type == DType::kBf16 && GetParam().numerics == Numerics::kW8A8;
    const std::int64_t width = shape.num_leaves * shape.leaf_size;
    Rows x(input_row(head_of_w8a8 ? Numerics::kW8A16 : GetParam().numerics, width, shape.num_leaves), rows);
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
    const Rows x = random_rows(rows, shape);
    std::vector<float> y(static_cast<std::size_t>(rows * y_stride + 1), kGuard);
    GetParam().kernels().gemm(queue(), at(x.data()), rows, m.packed(), at(y.data()), y_stride);
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
        for (const std::int64_t rows : {0, 1, 2, 5, 13}) check({GetParam().weights, leaves, leaf_size, columns}, rows);
}

TEST_P(GemmTest, EveryRowCountOfATile) {
  for (std::int64_t rows = 1; rows <= 26; ++rows) check({GetParam().weights, 2, 22, 40}, rows);
}

TEST_P(GemmTest, ManyRowsAndLongLeaves) {
  check({GetParam().weights, 1, 530, 65}, 48);
  check({GetParam().weights, 8, 20, 33}, 200);
  check({GetParam().weights, 2, 600, 32}, 1);
  for (const std::int64_t leaf_size : {63, 64, 65, 128, 290})  // of groups of inputs, and chunks of them
    for (const std::int64_t rows : {1, 2, 3, 4, 9, 30}) check({GetParam().weights, 1, leaf_size, 40}, rows);
}

TEST_P(GemmTest, HeadWeightsAreActivations) {
  for (const std::int64_t rows : {1, 3, 12, 30})
    for (const std::int64_t columns : {5, 70}) check({activation_type(GetParam().numerics), 1, 131, columns}, rows);
}

TEST_P(GemmTest, Threads) {
  for (const int threads : {1, 2, 3}) {
    set_threads(threads);
    check({GetParam().weights, 4, 40, 200}, 13);
    check({GetParam().weights, 1, 40, 32}, 100);
  }
}

TEST_P(GemmTest, ARowIsTheSameInAnyCompany) {
  const MatrixShape shape{GetParam().weights, 4, 300, 40};
  const Matrix m = random_matrix(random, shape);
  const std::int64_t rows = 50;
  const Rows x = random_rows(rows, shape);
  std::vector<float> all(static_cast<std::size_t>(rows * shape.num_columns)), some(all.size());
  GetParam().kernels().gemm(queue(), at(x.data()), rows, m.packed(), at(all.data()), shape.num_columns);
  for (std::int64_t first = 0, count = 1; first < rows; first += count, count = std::min(count + 1, rows - first))
    GetParam().kernels().gemm(queue(), at(x.row(first)), count, m.packed(), at(some.data() + first * shape.num_columns),
                              shape.num_columns);
  EXPECT_EQ(std::memcmp(all.data(), some.data(), all.size() * sizeof(float)), 0);
}

/// The largest sums there are: in all paths and tiles they fit.
TEST_P(GemmTest, ExtremesOfQuantisedRows) {
  const DType inputs = input_type(GetParam().numerics);
  if (!RowForm{inputs}.quantised() || GetParam().weights != DType::kInt8) GTEST_SKIP() << "quantised rows only";
  const MatrixShape shape{DType::kInt8, 1, most_leaf_inputs(inputs), 2};
  Matrix m = random_matrix(random, shape);
  const std::vector<std::byte> lowest(static_cast<std::size_t>(shape.leaf_size * shape.num_columns), std::byte{0x80});
  std::fill(m.weights.begin(), m.weights.end(), -128.0f);
  packer().pack(m.packed(), {0, 0, shape.leaf_size, 0, shape.num_columns}, lowest.data());
  for (const std::int64_t rows : {1, 13}) {
    Rows x({inputs, shape.leaf_size}, rows);
    for (std::int64_t row = 0; row < rows; ++row)
      x.set(row, std::vector<float>(static_cast<std::size_t>(shape.leaf_size), row % 2 == 0 ? 1.0f : -1.0f));
    std::vector<float> y(static_cast<std::size_t>(rows * 2));
    GetParam().kernels().gemm(queue(), at(x.data()), rows, m.packed(), at(y.data()), 2);
    for (std::int64_t i = 0; i < rows * 2; ++i)
      EXPECT_EQ(bits(y[static_cast<std::size_t>(i)]), bits(product(x, i / 2, m, i % 2)));
  }
}

/// Sums on both sides of 2^32, where an int16 row's are rounded in another way.
TEST_P(GemmTest, LargeSumsAreRoundedOnce) {
  if (GetParam().numerics != Numerics::kW8I16) GTEST_SKIP() << "w8i16 only";
  for (const std::int64_t size : {1000, 1028, 1030, 2048, 5000}) {
    const MatrixShape shape{DType::kInt8, 1, size, 64};
    Matrix m = random_matrix(random, shape);
    std::vector<std::byte> bytes;
    for (float& weight : m.weights) {
      weight = static_cast<float>(126 + static_cast<int>(random() % 2));
      bytes.push_back(static_cast<std::byte>(static_cast<int>(weight)));
    }
    packer().pack(m.packed(), {0, 0, size, 0, 64}, bytes.data());
    Rows x({DType::kInt16, size}, 7);
    for (std::int64_t row = 0; row < 7; ++row) {
      std::vector<float> values;
      for (std::int64_t i = 0; i < size; ++i) values.push_back((row % 2 == 0 ? 1.0f : -1.0f) - 0.001f * normal());
      x.set(row, values);
    }
    std::vector<float> y(7 * 64);
    GetParam().kernels().gemm(queue(), at(x.data()), 7, m.packed(), at(y.data()), 64);
    for (std::int64_t i = 0; i < 7 * 64; ++i)
      ASSERT_EQ(bits(y[static_cast<std::size_t>(i)]), bits(product(x, i / 64, m, i % 64))) << size << " " << i;
  }
}

TEST_P(GemmTest, SubnormalsAreZeros) {
  if (input_row(GetParam().numerics, 2).quantised()) GTEST_SKIP() << "see RowsTest";
  const MatrixShape shape{GetParam().weights, 1, 2, 3};
  const Matrix m = random_matrix(random, shape);
  Rows x(input_row(GetParam().numerics, 2), 1);
  const std::uint16_t subnormal = 0x0001;  // as bf16; as float 0x0001 in the lower half of a pair is subnormal too
  std::memcpy(x.data(), &subnormal, sizeof(subnormal));
  float y[3];
  GetParam().kernels().gemm(queue(), at(std::as_const(x).data()), 1, m.packed(), at(y), 3);
  for (const float value : y) EXPECT_EQ(value, 0.0f);
}

TEST_P(GemmTest, GatedGelu) {
  struct Sizes {
    std::int64_t columns, leaves;
  };
  for (const std::int64_t rows : {0, 1, 2, 8, 9, 40})
    for (const auto& [columns, leaves] : {Sizes{1, 1}, {33, 1}, {64, 8}, {72, 2}}) {
      const MatrixShape shape{GetParam().weights, 1, 75, columns};
      const Matrix gate = random_matrix(random, shape), up = random_matrix(random, shape);
      const Rows x = random_rows(rows, shape);
      const RowForm form = input_row(GetParam().numerics, columns, leaves);
      Rows h(form, rows + 1), expected = h;  // the last row guards
      std::memset(h.row(rows), 0x5a, form.row_bytes());
      std::memset(expected.row(rows), 0x5a, form.row_bytes());
      const std::int32_t psum_rows[] = {0, static_cast<std::int32_t>(rows)};
      GetParam().kernels().grouped_gated_gelu(queue(), at(x.data()), {at(psum_rows), rows}, std::array{gate.packed()},
                                              std::array{up.packed()}, leaves, at(h.data()));
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

/// Each group's rows meet their own matrix; groups may be empty.
TEST_P(GemmTest, Groups) {
  const MatrixShape shape{GetParam().weights, 2, 40, 33};
  std::vector<Matrix> matrices;
  std::vector<backend::Matrix> packed;
  for (int i = 0; i < 4; ++i) matrices.push_back(random_matrix(random, shape));
  for (const Matrix& m : matrices) packed.push_back(m.packed());
  const std::int32_t psum_rows[] = {0, 0, 7, 8, 30};
  const Rows x = random_rows(30, shape);
  std::vector<float> y(30 * 33 + 1, kGuard);
  GetParam().kernels().grouped_gemm(queue(), at(x.data()), {at(psum_rows), 30}, packed, at(y.data()));
  for (std::size_t g = 0; g < matrices.size(); ++g)
    for (std::int64_t row = psum_rows[g]; row < psum_rows[g + 1]; ++row)
      for (std::int64_t c = 0; c < 33; ++c)
        ASSERT_EQ(bits(y[static_cast<std::size_t>(row * 33 + c)]), bits(product(x, row, matrices[g], c)));
  EXPECT_EQ(y.back(), kGuard);
}

INSTANTIATE_TEST_SUITE_P(Paths, GemmTest, testing::ValuesIn(matrix_modes()), mode_name);

}  // namespace
}  // namespace moesaic::cpu::test
