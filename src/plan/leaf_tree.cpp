#include "plan/leaf_tree.hpp"

#include <algorithm>
#include <array>

#include "base/error.hpp"

namespace moesaic::plan {

std::vector<Range> cut_leaves(int parts, int units) {
  MOESAIC_CHECK(parts >= 1 && parts <= units && kNumLeaves % units == 0, "parts={} units={}", parts, units);
  std::vector<Range> cut = {{0, kNumLeaves}};
  while (std::ssize(cut) < parts) {
    const auto largest = std::max_element(cut.begin(), cut.end(), [](Range a, Range b) { return a.size() < b.size(); });
    const std::int64_t middle = largest->begin + largest->size() / 2;
    const Range right = {middle, largest->end};
    largest->end = middle;
    cut.insert(largest + 1, right);
  }
  return cut;
}

std::vector<Merge> finish_tree(std::span<const Range> subtrees) {
  struct Node {
    int sum;
    Range leaves;
  };
  std::vector<Merge> merges;
  std::vector<Node> open;  // complete subtrees from left to right, none the sibling of its neighbour
  for (int i = 0; i < std::ssize(subtrees); ++i) {
    open.push_back({i, subtrees[static_cast<std::size_t>(i)]});
    const auto siblings = [&] {
      if (open.size() < 2) return false;
      const Range left = open[open.size() - 2].leaves, right = open.back().leaves;
      return left.size() == right.size() && left.begin % (2 * left.size()) == 0;
    };
    while (siblings()) {
      const Node right = open.back();
      open.pop_back();
      merges.push_back({open.back().sum, right.sum});
      open.back().leaves.end = right.leaves.end;
    }
  }
  MOESAIC_CHECK(open.size() == 1, "{} subtrees do not cover the tree", subtrees.size());
  return merges;
}

void combine_experts(std::span<const std::int32_t> experts, std::int64_t num_experts, std::vector<Merge>& merges) {
  constexpr int kAbsent = -1;
  std::array<int, kNumLeaves> node;
  node.fill(kAbsent);
  merges.clear();
  const auto add = [&](int& into, int from) {
    if (from == kAbsent) return;
    if (into == kAbsent)
      into = from;
    else
      merges.push_back({into, from});
  };
  std::size_t group = 0;
  for (int i = 0; i < std::ssize(experts); ++i) {
    const std::int64_t expert = experts[static_cast<std::size_t>(i)];
    while (expert >= static_cast<std::int64_t>(group + 1) * num_experts / kNumLeaves) ++group;
    add(node[group], i);
  }
  for (std::size_t width = 1; width < node.size(); width *= 2)
    for (std::size_t left = 0; left < node.size(); left += 2 * width) add(node[left], node[left + width]);
}

}  // namespace moesaic::plan
