#include "definition.hpp"

namespace moesaic::cpu::test {
namespace {

class RowsTest : public KernelTest {
 protected:
  std::vector<float> normals(std::int64_t n, float deviation = 1.0f) {
    std::vector<float> values(static_cast<std::size_t>(n));
    for (float& value : values) value = deviation * normal();
    return values;
  }
};

TEST_P(RowsTest, RmsNorm) {
  for (const std::int64_t width : {1, 15, 16, 100, 6144}) {
    const std::int64_t rows = 7;
    const auto x = normals(rows * width, 5.0f), scale = normals(width);
    std::vector<float> y(x.size() + 1, kGuard);
    GetParam().kernels().rms_norm(queue(), at(x.data()), at(scale.data()), rows, width, 1e-5f, at(y.data()));
    EXPECT_EQ(y.back(), kGuard);
    for (std::int64_t row = 0; row < rows; ++row) {
      std::vector<float> squares;
      for (std::int64_t i = 0; i < width; ++i) {
        const float value = x[static_cast<std::size_t>(row * width + i)];
        squares.push_back(value * value);
      }
      const float mean = lane_sum(squares) / static_cast<float>(width), r = 1.0f / std::sqrt(mean + 1e-5f);
      for (std::int64_t i = 0; i < width; ++i) {
        const auto at = static_cast<std::size_t>(row * width + i);
        ASSERT_EQ(bits(y[at]), bits(x[at] * r * scale[static_cast<std::size_t>(i)]));
      }
    }
  }
}

TEST_P(RowsTest, Activations) {
  for (const std::int64_t n : {0, 1, 17, 40000}) {
    auto x = normals(n, 1e3f);
    for (std::size_t i = 0; i + 5 < x.size(); i += 16) {
      x[i] = std::bit_cast<float>(0x3f808000u + static_cast<std::uint32_t>(i / 16 % 2 * 0x10000));  // ties
      x[i + 1] = 1e-39f;
      x[i + 2] = -1e-39f;
      x[i + 3] = INFINITY;
      x[i + 4] = std::bit_cast<float>(0x7f800001u);
      x[i + 5] = 3.4e38f;
    }
    Rows y(activation_row(GetParam().numerics, n), 2), expected = y;  // the last row guards
    std::memset(y.row(1), 0x5a, y.form().row_bytes());
    std::memset(expected.row(1), 0x5a, y.form().row_bytes());
    expected.set(0, x);
    GetParam().kernels().to_activation(queue(), at(x.data()), n, 1, n, 1, at(y.data()));
    std::vector<float> back(x.size() + 1, kGuard);
    const std::int32_t first = 0;
    GetParam().kernels().scatter_activations(queue(), at(y.data()), at(&first), 1, n, 0.3f, at(back.data()));
    EXPECT_TRUE(y.same_bytes(expected)) << n;
    EXPECT_EQ(back.back(), kGuard);
    for (std::int64_t i = 0; i < n; ++i) {
      const float value = y.real(0, i, 0.3f);
      if (!std::isnan(value)) {
        ASSERT_EQ(bits(back[static_cast<std::size_t>(i)]), bits(value));
      }
    }
  }
}

TEST_P(RowsTest, Inputs) {
  for (const std::int64_t leaves : {1, 4})
    for (const std::int64_t leaf_size : {1, 7, 16, 531})
      for (const std::int64_t rows : {0, 1, 3, 40}) {
        const RowForm form = input_row(GetParam().numerics, leaves * leaf_size, leaves);
        Rows y(form, rows + 1), expected = y;
        std::memset(y.data(), 0x5a, form.row_bytes() * static_cast<std::size_t>(rows + 1));
        std::memset(expected.row(rows), 0x5a, form.row_bytes());
        auto x = normals(rows * form.width);
        // Leaf by leaf: zeros, subnormals, the smallest and largest that have a scale, ties, not finite.
        for (std::size_t leaf = 0; leaf < static_cast<std::size_t>(rows * leaves); ++leaf)
          for (std::size_t i = leaf * static_cast<std::size_t>(leaf_size);
               i < (leaf + 1) * static_cast<std::size_t>(leaf_size); ++i) {
            const bool int16 = form.type == DType::kInt16;
            const float most = int16 ? 32639.0f : 127.0f, tie = static_cast<float>(i % 254) - 126.5f;
            const float kinds[] = {0.0f,
                                   x[i] * 1e-39f,
                                   std::copysign(0x1p-100f, x[i]),
                                   x[i] * 1e38f,
                                   i % 7 == 0 ? most : tie,
                                   0x1.fffffep-101f,
                                   i % 5 == 3 ? NAN : x[i],
                                   i % 9 == 0 ? -INFINITY : x[i]};
            if (leaf % 12 < std::size(kinds)) x[i] = kinds[leaf % 12];
          }
        GetParam().kernels().to_input(queue(), at(x.data()), rows, form.width, leaves, at(y.data()));
        for (std::int64_t row = 0; row < rows; ++row)
          expected.set(row, {x.begin() + row * form.width, x.begin() + (row + 1) * form.width});
        ASSERT_TRUE(y.same_bytes(expected)) << rows << " rows of " << leaves << " leaves of " << leaf_size;
      }
}

/// Strided rows are rounded as if they followed each other.
TEST_P(RowsTest, StridedActivations) {
  const std::int64_t rows = 9, width = 21, stride = 30;
  const auto x = normals(rows * stride);
  Rows y(activation_row(GetParam().numerics, width, 3), rows), expected = y;
  GetParam().kernels().to_activation(queue(), at(x.data()), stride, rows, width, 3, at(y.data()));
  for (std::int64_t row = 0; row < rows; ++row)
    expected.set(row, {x.begin() + row * stride, x.begin() + row * stride + width});
  EXPECT_TRUE(y.same_bytes(expected));
}

/// Softmax over all experts, the best ones first; equal ones by their index.
TEST_P(RowsTest, Route) {
  for (const std::int64_t experts : {1, 4, 7, 8, 16, 19})
    for (const std::int64_t rows : {0, 1, 3, 4, 9}) {
      const std::int64_t width = 333, active = std::min<std::int64_t>(experts, 1 + rows % 4);
      const auto x = normals(rows * width);
      auto w = normals(width * experts, 0.05f);
      for (std::int64_t i = 0; experts > 4 && i < width; ++i)  // two experts that are alike
        w[static_cast<std::size_t>(i * experts + 3)] = w[static_cast<std::size_t>(i * experts + 1)];
      const auto size = static_cast<std::size_t>(rows * active);
      std::vector<std::int32_t> ids(size + 1, -7), ascending = ids;
      std::vector<float> gates(size + 1, kGuard), ascending_gates = gates;
      GetParam().kernels().route(queue(), at(x.data()), rows, {width, experts, active}, at(w.data()),
                                 {at(ids.data()), at(gates.data()), at(ascending.data()), at(ascending_gates.data())});
      EXPECT_EQ(ids.back(), -7);
      EXPECT_EQ(gates.back(), kGuard);
      for (std::int64_t row = 0; row < rows; ++row) {
        std::vector<float> p;
        for (std::int64_t e = 0; e < experts; ++e) {
          std::vector<float> products;
          for (std::int64_t i = 0; i < width; ++i)
            products.push_back(x[static_cast<std::size_t>(row * width + i)] *
                               w[static_cast<std::size_t>(i * experts + e)]);
          p.push_back(lane_sum(products));
        }
        const float most = *std::max_element(p.begin(), p.end());
        float sum = 0;
        for (float& value : p) sum += value = static_cast<float>(exp_f64(static_cast<double>(value - most)));
        std::vector<std::pair<float, std::int32_t>> best;
        for (std::size_t e = 0; e < p.size(); ++e) best.emplace_back(-(p[e] / sum), static_cast<std::int32_t>(e));
        std::sort(best.begin(), best.end());
        best.resize(static_cast<std::size_t>(active));
        const auto first = static_cast<std::size_t>(row * active);
        for (std::size_t a = 0; a < best.size(); ++a) {
          ASSERT_EQ(ids[first + a], best[a].second);
          ASSERT_EQ(bits(gates[first + a]), bits(-best[a].first));
        }
        std::sort(best.begin(), best.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
        for (std::size_t a = 0; a < best.size(); ++a) {
          ASSERT_EQ(ascending[first + a], best[a].second);
          ASSERT_EQ(bits(ascending_gates[first + a]), bits(-best[a].first));
        }
      }
    }
}

TEST_P(RowsTest, FinishTree) {
  const std::int64_t n = 20000;
  const std::vector<plan::Merge> merges{{0, 1}, {2, 3}, {0, 2}};
  auto parts = normals(4 * n);
  const auto given = parts;
  const auto value = [&](std::int64_t part, std::int64_t i) { return given[static_cast<std::size_t>(part * n + i)]; };
  std::vector<float> sum(static_cast<std::size_t>(n));
  GetParam().kernels().finish_tree(queue(), backend::SumTree(merges), at(parts.data()), n, at(sum.data()));
  for (std::int64_t i = 0; i < n; ++i)
    ASSERT_EQ(bits(sum[static_cast<std::size_t>(i)]), bits((value(0, i) + value(1, i)) + (value(2, i) + value(3, i))));
  parts = given;
  GetParam().kernels().finish_tree(queue(), backend::SumTree({}), at(parts.data()), n, at(sum.data()));
  for (std::int64_t i = 0; i < n; ++i) ASSERT_EQ(bits(sum[static_cast<std::size_t>(i)]), bits(value(0, i)));
}

TEST_P(RowsTest, GatherRows) {
  const std::int64_t width = 37;
  const auto x = normals(5 * width);
  const std::vector<std::int32_t> index{4, 0, 0, 2};
  const std::size_t row_bytes = static_cast<std::size_t>(width) * sizeof(float);
  std::vector<float> y(4 * static_cast<std::size_t>(width) + 1, kGuard);
  GetParam().kernels().gather_rows(queue(), at(static_cast<const void*>(x.data())), at(index.data()), 4, row_bytes,
                                   at(static_cast<void*>(y.data())));
  for (std::int64_t i = 0; i < 4 * width; ++i) {
    const std::int64_t from = index[static_cast<std::size_t>(i / width)] * width + i % width;
    ASSERT_EQ(y[static_cast<std::size_t>(i)], x[static_cast<std::size_t>(from)]);
  }
  EXPECT_EQ(y.back(), kGuard);
}

TEST_P(RowsTest, Rope) {
  for (const std::int64_t key_size : {2, 6, 64, 128}) {
    const std::int64_t heads = 3, stride = heads * key_size + 4, half = key_size / 2;
    const std::vector<backend::RowContext> rows{{0, 0}, {5, 0}, {2, 0}};
    const auto x = normals(3 * stride), cosines = normals(6 * half), sines = normals(6 * half);
    auto y = x;
    GetParam().kernels().rope(queue(), at(y.data()), stride, heads, key_size, {at(rows.data()), {}, 3},
                              at(cosines.data()), at(sines.data()));
    for (std::int64_t row = 0; row < 3; ++row)
      for (std::int64_t i = 0; i < stride; ++i) {
        const auto at = static_cast<std::size_t>(row * stride + i);
        float expected = x[at];
        if (i < heads * key_size) {
          const auto j = static_cast<std::size_t>(rows[static_cast<std::size_t>(row)].position * half + i % half);
          const bool first = i % key_size < half;
          const auto other = first ? at + static_cast<std::size_t>(half) : at - static_cast<std::size_t>(half);
          const float straight = x[at] * cosines[j], crossed = x[other] * sines[j];
          expected = first ? straight - crossed : straight + crossed;
        }
        ASSERT_EQ(bits(y[at]), bits(expected));
      }
  }
}

INSTANTIATE_TEST_SUITE_P(Paths, RowsTest, testing::ValuesIn(modes()), mode_name);

}  // namespace
}  // namespace moesaic::cpu::test
