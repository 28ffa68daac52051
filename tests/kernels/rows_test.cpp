#include "definition.hpp"

namespace moesaic::ops::test {
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
    GetParam().kernels().rms_norm(x.data(), scale.data(), rows, width, 1e-5f, y.data());
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
    Activations y(GetParam().numerics, static_cast<std::size_t>(n + 1));
    y.set(n, kGuard);
    const float guard = y[n];
    GetParam().kernels().to_activation(x.data(), n, y.data());
    std::vector<float> back(x.size() + 1, kGuard);
    GetParam().kernels().from_activation(y.data(), n, 0.3f, back.data());
    std::vector<float> sums(x.size() + 1, kGuard);
    std::fill_n(sums.begin(), x.size(), 0.7f);
    GetParam().kernels().add_activation(y.data(), n, 0.3f, sums.data());
    EXPECT_EQ(y[n], guard);
    EXPECT_EQ(back.back(), kGuard);
    EXPECT_EQ(sums.back(), kGuard);
    for (std::int64_t i = 0; i < n; ++i) {
      const auto at = static_cast<std::size_t>(i);
      ASSERT_EQ(bits(y[i]), bits(rounded(GetParam().numerics, x[at]))) << x[at];
      if (!std::isnan(x[at])) {
        ASSERT_EQ(bits(back[at]), bits(y[i] * 0.3f));
        ASSERT_EQ(bits(sums[at]), bits(0.7f + back[at]));
      }
    }
  }
}

TEST_P(RowsTest, Inputs) {
  for (const std::int64_t leaves : {1, 4})
    for (const std::int64_t leaf_size : {1, 7, 16, 531})
      for (const std::int64_t rows : {0, 1, 3, 40}) {
        const GemmInput form{GetParam().numerics, leaves * leaf_size, leaves};
        ::moesaic::ops::test::Inputs y(form, rows + 1), expected = y;
        std::memset(y.data(), 0x5a, form.row_bytes() * static_cast<std::size_t>(rows + 1));
        std::memset(expected.row(rows), 0x5a, form.row_bytes());
        auto x = normals(rows * form.width);
        // Leaf by leaf: zeros, subnormals, the smallest and largest that have a scale, ties, not finite.
        for (std::size_t leaf = 0; leaf < static_cast<std::size_t>(rows * leaves); ++leaf)
          for (std::size_t i = leaf * static_cast<std::size_t>(leaf_size);
               i < (leaf + 1) * static_cast<std::size_t>(leaf_size); ++i) {
            const float tie = static_cast<float>(i % 254) - 126.5f;
            const float kinds[] = {0.0f,
                                   x[i] * 1e-39f,
                                   std::copysign(0x1p-100f, x[i]),
                                   x[i] * 1e38f,
                                   i % 7 == 0 ? 127.0f : tie,
                                   0x1.fffffep-101f,
                                   i % 5 == 3 ? NAN : x[i],
                                   i % 9 == 0 ? -INFINITY : x[i]};
            if (leaf % 12 < std::size(kinds)) x[i] = kinds[leaf % 12];
          }
        GetParam().kernels().to_input(x.data(), rows, form.width, leaves, y.data());
        for (std::int64_t row = 0; row < rows; ++row)
          expected.set(row, {x.begin() + row * form.width, x.begin() + (row + 1) * form.width});
        ASSERT_TRUE(y.same_bytes(expected)) << rows << " rows of " << leaves << " leaves of " << leaf_size;
      }
}

TEST_P(RowsTest, RouterLogits) {
  for (const std::int64_t experts : {1, 4, 7, 8, 16, 19})
    for (const std::int64_t rows : {0, 1, 3, 4, 9}) {
      const std::int64_t width = 333;
      const auto x = normals(rows * width), w = normals(width * experts);
      std::vector<float> logits(static_cast<std::size_t>(rows * experts + 1), kGuard);
      GetParam().kernels().router_logits(x.data(), rows, width, w.data(), experts, logits.data());
      EXPECT_EQ(logits.back(), kGuard);
      for (std::int64_t row = 0; row < rows; ++row)
        for (std::int64_t e = 0; e < experts; ++e)
          ASSERT_EQ(
              bits(logits[static_cast<std::size_t>(row * experts + e)]),
              bits(dot(
                  Numerics::kF32, width, [&](std::int64_t i) { return x[static_cast<std::size_t>(row * width + i)]; },
                  [&](std::int64_t i) { return w[static_cast<std::size_t>(i * experts + e)]; })));
    }
}

TEST_P(RowsTest, Rope) {
  for (const std::int64_t key_size : {2, 6, 64, 128}) {
    const std::int64_t heads = 3, stride = heads * key_size + 4, half = key_size / 2;
    const std::vector<RowContext> rows{{nullptr, 0}, {nullptr, 5}, {nullptr, 2}};
    const auto x = normals(3 * stride), cosines = normals(6 * half), sines = normals(6 * half);
    auto y = x;
    GetParam().kernels().rope(y.data(), stride, 3, heads, key_size, rows.data(), cosines.data(), sines.data());
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
}  // namespace moesaic::ops::test
