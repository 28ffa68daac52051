#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "measure/compare.hpp"
#include "measure/statistics.hpp"

namespace moesaic::measure {
namespace {

constexpr std::int64_t kColumns = 3;

BitMatrix matrix(const std::vector<float>& values) { return {values.data(), kColumns, sizeof(float)}; }

TEST(BenchCompare, EqualRowsAreRight) {
  const std::vector<float> expected = {1, 2, 3, 4, 5, 6};
  EXPECT_EQ(first_wrong(matrix(expected), 2, matrix(expected), 2), std::nullopt);
}

TEST(BenchCompare, RowsRepeat) {
  const std::vector<float> expected = {1, 2, 3, 4, 5, 6}, found = {1, 2, 3, 4, 5, 6, 1, 2, 3};
  EXPECT_EQ(first_wrong(matrix(expected), 2, matrix(found), 3), std::nullopt);
  EXPECT_NE(first_wrong(matrix(expected), 1, matrix(found), 2), std::nullopt);
}

TEST(BenchCompare, OneBitIsWrong) {
  const std::vector<float> expected = {1, 2, 3, 4, 5, 0.0f};
  std::vector<float> found = expected;
  found[5] = -0.0f;
  const auto wrong = first_wrong(matrix(expected), 2, matrix(found), 2);
  ASSERT_TRUE(wrong);
  EXPECT_THAT(*wrong, testing::HasSubstr("row 1 column 2"));
  EXPECT_THAT(*wrong, testing::HasSubstr("0x80000000"));
}

TEST(BenchCompare, HalvesOfTheSize) {
  const std::vector<std::uint16_t> expected = {1, 2, 3}, found = {1, 7, 3};
  EXPECT_THAT(first_wrong({expected.data(), kColumns, 2}, 1, {found.data(), kColumns, 2}, 1).value_or(""),
              testing::HasSubstr("row 0 column 1: bits 0x7, expected 0x2"));
}

TEST(BenchStatistics, MeanDeviationMedian) {
  const Statistics s = statistics({4, 1, 3, 2});
  EXPECT_DOUBLE_EQ(s.mean, 2.5);
  EXPECT_DOUBLE_EQ(s.median, 2.5);
  EXPECT_DOUBLE_EQ(s.least, 1);
  EXPECT_DOUBLE_EQ(s.most, 4);
  EXPECT_NEAR(s.deviation, 1.2909944487358056, 1e-15);
  EXPECT_EQ(statistics({5}).deviation, 0);
}

}  // namespace
}  // namespace moesaic::measure
