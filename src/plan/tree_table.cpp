#include "plan/tree_table.hpp"

#include "plan/dispatch_plan.hpp"

namespace moesaic::plan {
namespace {

void add_tree(TreeTable& table, std::size_t num_parts, const std::vector<Merge>& merges, bool completes) {
  table.trees.push_back({static_cast<std::int32_t>(table.parts.size()), static_cast<std::int32_t>(num_parts),
                         static_cast<std::int32_t>(table.merges.size()), static_cast<std::int32_t>(merges.size()),
                         completes ? 1 : 0});
  table.merges.insert(table.merges.end(), merges.begin(), merges.end());
}

}  // namespace

TreeTable fragment_trees(const DispatchSetting& setting) {
  TreeTable table;
  for (const SubsetTree& subset : setting.trees)
    for (const Fragment& fragment : subset.fragments) {
      add_tree(table, fragment.holders.size(), fragment.merges, subset.complete());
      for (const StageRank holder : fragment.holders) table.parts.push_back(setting.domains.place(holder).value());
    }
  return table;
}

TreeTable owner_trees(const DispatchSetting& setting) {
  TreeTable table;
  for (const SubsetTree& subset : setting.trees) add_tree(table, subset.fragments.size(), subset.merges, true);
  return table;
}

}  // namespace moesaic::plan
