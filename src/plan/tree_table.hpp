#pragma once

#include <cstdint>
#include <vector>

#include "plan/leaf_tree.hpp"

namespace moesaic::plan {

struct DispatchSetting;

/// The trees by which partial outputs of experts come together, flattened for kernels: tree t adds up num_parts values
/// by num_merges merges, which count its values from 0.
struct TreeTable {
  struct Tree {
    std::int32_t first_part = 0, num_parts = 0, first_merge = 0, num_merges = 0;
    std::int32_t completes = 0;  ///< 1: the sum is an expert's whole output, which is rounded to Act; else 0
  };
  std::vector<Tree> trees;
  std::vector<std::int32_t> parts;  ///< of fragments: place of each holder among its domain's members
  std::vector<Merge> merges;
};

/// What a domain makes of its holders' slices: one tree a fragment, numbered by subset, then fragment.
TreeTable fragment_trees(const DispatchSetting& setting);

/// What the owner of a row makes of the fragments that come back: one tree a subset. No parts are listed: they are
/// pieces in their order.
TreeTable owner_trees(const DispatchSetting& setting);

}  // namespace moesaic::plan
