#include "plan/leaf_tree.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

namespace moesaic::plan {
namespace {

/// Does the merges on formulas instead of numbers, so that the shape of the tree can be read.
std::string formula(const std::vector<std::string>& leaves, const std::vector<Merge>& merges) {
  std::vector<std::string> sums = leaves;
  for (const auto& [into, from] : merges)
    sums[static_cast<std::size_t>(into)] =
        fmt::format("({}+{})", sums[static_cast<std::size_t>(into)], sums[static_cast<std::size_t>(from)]);
  return sums[0];
}

/// The formula of a complete subtree.
std::string subtree(Range leaves) {
  if (leaves.size() == 1) return std::to_string(leaves.begin);
  const std::int64_t middle = leaves.begin + leaves.size() / 2;
  return fmt::format("({}+{})", subtree({leaves.begin, middle}), subtree({middle, leaves.end}));
}

TEST(LeafTree, EveryCutFinishesTheSameTree) {
  const std::string whole = "(((0+1)+(2+3))+((4+5)+(6+7)))";
  ASSERT_EQ(subtree({0, 8}), whole);
  for (const int units : {1, 2, 4, 8})
    for (int parts = 1; parts <= units; ++parts) {
      const auto cut = cut_leaves(parts, units);
      ASSERT_EQ(std::ssize(cut), parts);
      std::vector<std::string> sums;
      std::int64_t next = 0;
      for (const Range part : cut) {
        EXPECT_EQ(part.begin, next) << "every leaf is owned once";
        EXPECT_EQ(part.begin % part.size(), 0) << "a complete subtree";
        EXPECT_EQ(part.size() % (kNumLeaves / units), 0);
        next = part.end;
        sums.push_back(subtree(part));
      }
      EXPECT_EQ(next, kNumLeaves);
      EXPECT_EQ(formula(sums, finish_tree(cut)), whole) << parts << " parts of " << units << " units";
    }
}

TEST(LeafTree, ExpertsCombineByGroupsAndSkipAbsentOnes) {
  const auto combine = [](std::vector<std::int32_t> experts, std::int64_t num_experts) {
    std::vector<std::string> terms;
    for (const auto expert : experts) terms.push_back(std::to_string(expert));
    std::vector<Merge> merges;
    combine_experts(experts, num_experts, merges);
    return formula(terms, merges);
  };
  EXPECT_EQ(combine({3}, 8), "3");
  EXPECT_EQ(combine({2, 7}, 8), "(2+7)");
  EXPECT_EQ(combine({0, 2, 3}, 8), "(0+(2+3))");
  EXPECT_EQ(combine({1, 2, 5, 6}, 8), "((1+2)+(5+6))");
  EXPECT_EQ(combine({0, 1, 2, 3}, 4), "((0+1)+(2+3))");
  EXPECT_EQ(combine({0, 2}, 3), "(0+2)");
  EXPECT_EQ(combine({0, 1, 2, 3}, 16), "((0+1)+(2+3))");
  EXPECT_EQ(combine({0, 1, 15}, 16), "((0+1)+15)");
  // 20 experts: groups begin at 0, 2, 5, 7, 10, 12, 15, 17; inside a group the order ascends.
  EXPECT_EQ(combine({2, 3, 4, 5}, 20), "(((2+3)+4)+5)");
}

}  // namespace
}  // namespace moesaic::plan
