#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/range.hpp"
#include "config/model_config.hpp"

/// The fixed binary tree ((0+1)+(2+3))+((4+5)+(6+7)) over the leaves of a contraction, and who owns which part of it.
namespace moesaic::plan {

/// Cuts the 8 leaves into `parts` contiguous complete subtrees, each a multiple of 8 / units leaves (units: 1, 2, 4,
/// 8), by halving the largest (first) part again and again: 3 of 8 gives 2, 2, 4. One part is one complete subtree, so
/// a rank ships one partial sum a row. Requires 1 <= parts <= units.
std::vector<Range> cut_leaves(int parts, int units);

/// One addition of the tree: sum[into] += sum[from].
struct Merge {
  int into = 0;
  int from = 0;
  friend bool operator==(const Merge&, const Merge&) = default;
};

/// The additions that finish the tree from the partial sums of consecutive complete subtrees; the result is in sum[0].
std::vector<Merge> finish_tree(std::span<const Range> subtrees);

/// Carries the additions out, each by add(x, y, sum) on values where they lie: parts[k], and sums in memory(k), which
/// may be where part k lies. The last one goes to `out`. Requires an addition; `parts` is used up.
template <class Memory, class Add>
void add_up(std::span<const Merge> merges, std::span<const float*> parts, float* out, Memory&& memory, Add&& add) {
  for (const Merge& merge : merges) {
    const float*& into = parts[static_cast<std::size_t>(merge.into)];
    float* const sum = &merge == &merges.back() ? out : memory(merge.into);
    add(into, parts[static_cast<std::size_t>(merge.from)], sum);
    into = sum;
  }
}

/// The additions that combine the terms of the chosen experts (ascending ids out of num_experts): 8 contiguous groups
/// with boundaries floor(g * E / 8), ascending inside a group, groups by the leaf tree, absent terms skipped. The
/// result is in sum[0]. Replaces `merges`, whose memory is used again.
void combine_experts(std::span<const std::int32_t> experts, std::int64_t num_experts, std::vector<Merge>& merges);

}  // namespace moesaic::plan
