#include "config/tensor_roles.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "config/grok1.hpp"

namespace moesaic {
namespace {

TEST(TensorRoles, TheTableIsInTheOrderOfTheRoles) {
  for (std::size_t i = 0; i < std::size(kTensorRows); ++i) {
    EXPECT_EQ(static_cast<std::size_t>(kTensorRows[i].role), i) << kTensorRows[i].name;
    EXPECT_EQ(kTensorRows[i].is_matrix(), !kTensorRows[i].scales.empty()) << kTensorRows[i].name;
  }
}

TEST(TensorRoles, NormsBehindBlocksBelongToModelsThatHaveThem) {
  const auto norms = [](const ArchSpec& arch) {
    return std::ranges::count_if(kTensorRows, [&](const TensorRow& row) { return row.is_norm() && row.present(arch); });
  };
  EXPECT_EQ(norms(kGrok1Arch), 5);
  EXPECT_EQ(norms({.block_norms = BlockNorms::kBefore}), 3);
}

TEST(TensorRoles, SharesOfAllLeavesAreTheTensor) {
  for (const TensorRow& row : kTensorRows)
    EXPECT_EQ(share_of(kGrok1, row).num_elems(), extent(kGrok1, row.inputs) * extent(kGrok1, row.columns)) << row.name;
  EXPECT_EQ(share_of(kGrok1, tensor_row(TensorRole::kKey), 2).columns, 2 * 128);
  EXPECT_EQ(share_of(kGrok1, tensor_row(TensorRole::kMoeDown), 2).leaf_inputs, 4096);
  EXPECT_EQ(matrix_elems(kGrok1, PerUnit::kExpert), 3 * 6144LL * 32768);
}

}  // namespace
}  // namespace moesaic
