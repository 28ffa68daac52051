#include <gtest/gtest.h>

#include "base/counted.hpp"
#include "base/digits.hpp"

namespace moesaic {
namespace {

TEST(Numbers, NounsHaveTheirForm) {
  EXPECT_EQ(counted(0, "rank"), "0 ranks");
  EXPECT_EQ(counted(1, "rank"), "1 rank");
  EXPECT_EQ(counted(12, "thread"), "12 threads");
}

TEST(Numbers, DigitsWithoutExponents) {
  EXPECT_EQ(in_digits(0, 3), "0");
  EXPECT_EQ(in_digits(4232.1, 3), "4230");
  EXPECT_EQ(in_digits(123456, 4), "123500");
  EXPECT_EQ(in_digits(999.6, 3), "1000");
  EXPECT_EQ(in_digits(99.96, 3), "100");
  EXPECT_EQ(in_digits(1.5, 3), "1.5");
  EXPECT_EQ(in_digits(0.01234, 3), "0.0123");
  EXPECT_EQ(in_digits(0.0000123, 3), "0.0000123");
  EXPECT_EQ(in_digits(-0.00002, 1), "-0.00002");
}

}  // namespace
}  // namespace moesaic
