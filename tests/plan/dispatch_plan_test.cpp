#include "plan/dispatch_plan.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include "models.hpp"
#include "plan/planner.hpp"
#include "plan/slot_choice.hpp"
#include "plan/tree_table.hpp"
#include "support/random_placement.hpp"

namespace moesaic::plan {
namespace {

constexpr PieceSizes kSizes = {2, 4};
constexpr ModelLayer kLayer(1);  ///< of the placement

std::vector<std::int32_t> random_routing(std::mt19937& random, const ModelConfig& config, std::int64_t num_rows) {
  std::vector<std::int32_t> all(static_cast<std::size_t>(config.num_experts)), routing;
  std::iota(all.begin(), all.end(), 0);
  const bool skewed = random() % 3 == 0;  // everybody wants the same experts
  for (std::int64_t row = 0; row < num_rows; ++row) {
    if (!skewed || row == 0) std::shuffle(all.begin(), all.end(), random);
    std::vector<std::int32_t> chosen(all.begin(), all.begin() + config.num_selected_experts);
    std::sort(chosen.begin(), chosen.end());
    routing.insert(routing.end(), chosen.begin(), chosen.end());
  }
  return routing;
}

/// What one slice makes of one row for one expert.
struct Label {
  std::int64_t row;
  ExpertId expert;
  SliceId slice;
  auto operator<=>(const Label&) const = default;
};
using Sum = std::set<Label>;  // of a fragment

/// Plays the exchange of all ranks with labels instead of rows: each (row, expert, slice) is computed exactly once, by
/// a holder of that slice, and every fragment comes back to the place where the owner looks for it.
class Play {
 public:
  Play(const DispatchSetting& setting, const Domains& nodes, const RowMap& map,
       const std::vector<std::int32_t>& experts)
      : setting_(setting),
        map_(map),
        experts_(experts),
        slots_(slots_of_rows(setting.grid, nodes, map, kLayer, experts)),
        owners_(setting.grid.ranks_per_stage()) {
    for (const StageRank rank : owners_.ids()) plan_owner(setting, rank, slots_of(map.rows(rank)), owners_[rank]);
  }

  void run() {
    for (const DomainId domain : setting_.domains.ids()) run_domain(domain);
    for (const StageRank rank : owners_.ids()) expect_complete(rank);
  }

 private:
  std::vector<std::int32_t> slots_of(Range rows) const {
    const auto active = setting_.active();
    return {slots_.begin() + rows.begin * active, slots_.begin() + rows.end * active};
  }

  void run_domain(DomainId domain) {
    // Members' own rows, and those that were sent, each owner's once.
    std::vector<std::vector<std::int64_t>> rows;  // of each block
    std::vector<std::vector<std::int32_t>> ids;
    std::vector<StageRank> owners;
    for (const StageRank owner : owners_.ids()) {
      const Range own = map_.rows(owner);
      std::vector<std::int64_t>& list = rows.emplace_back();
      if (setting_.domains.domain(owner) == domain)
        for (auto row = own.begin; row < own.end; ++row) list.push_back(row);
      else
        for (const auto row : owners_[owner].send_rows[domain]) list.push_back(own.begin + row);
      EXPECT_EQ(std::set(list.begin(), list.end()).size(), list.size()) << "a row goes to a domain once";
      auto& block_ids = ids.emplace_back();
      for (const auto row : list)
        for (const auto slot : slots_of({row, row + 1})) block_ids.push_back(slot);
      owners.push_back(owner);
    }
    std::vector<RowBlock> blocks;
    for (std::size_t b = 0; b < rows.size(); ++b) blocks.push_back({owners[b], ids[b]});

    std::map<StageRank, std::vector<Label>> outputs;  // by member and term
    BatchPlan plan;
    for (const StageRank member : setting_.domains.members(domain)) {
      plan_batch(setting_, member, blocks, plan);
      const auto& local = setting_.grid.placement().experts(kLayer, setting_.grid.subset(member));
      auto& labels = outputs[member];
      for (std::size_t e = 0; e < local.size(); ++e)
        for (auto t = plan.psum_slot_rows[e]; t < plan.psum_slot_rows[e + 1]; ++t) {
          const auto [block, row] = plan.sources[static_cast<std::size_t>(t)];
          labels.push_back({rows[static_cast<std::size_t>(block)][static_cast<std::size_t>(row)], local[e],
                            setting_.grid.slice(member)});
        }
    }
    std::vector<PieceJob> jobs;
    const TreeTable trees = fragment_trees(setting_);
    std::size_t first_place = 0;
    for (const RowBlock& block : blocks) {
      const std::size_t bytes =
          plan_pieces(setting_, domain, block, std::span(plan.places).subspan(first_place, block.slots.size()), jobs);
      first_place += block.slots.size();
      EXPECT_EQ(bytes, owners_[block.owner].stream_bytes[domain]);
      for (const PieceJob& job : jobs) {
        Sum& sum = streams_[{block.owner, domain}][job.offset_bytes];
        const TreeTable::Tree& tree = trees.trees[static_cast<std::size_t>(job.tree)];
        for (std::int32_t part = 0; part < tree.num_parts; ++part) {
          const MemberId place(trees.parts[static_cast<std::size_t>(tree.first_part + part)]);
          const StageRank holder = setting_.domains.members(domain)[place];
          ASSERT_LT(static_cast<std::size_t>(job.place), outputs[holder].size());
          EXPECT_TRUE(computed_.insert(outputs[holder][static_cast<std::size_t>(job.place)]).second) << "used twice";
          sum.insert(outputs[holder][static_cast<std::size_t>(job.place)]);
        }
      }
    }
  }

  void expect_complete(StageRank owner) {
    const OwnerPlan& plan = owners_[owner];
    const Range own = map_.rows(owner);
    const auto active = setting_.active();
    for (std::int64_t row = own.begin; row < own.end; ++row)
      for (std::int64_t a = 0; a < active; ++a) {
        const auto choice = static_cast<std::size_t>(row * active + a);
        const ExpertId expert(experts_[choice]);
        const SubsetTree& tree = setting_.tree_of(SlotId(slots_[choice]));
        const auto* piece =
            plan.pieces.data() + plan.first_piece[static_cast<std::size_t>((row - own.begin) * active + a)];
        for (const Fragment& fragment : tree.fragments) {
          Sum expected;
          for (const StageRank holder : fragment.holders) expected.insert({row, expert, setting_.grid.slice(holder)});
          EXPECT_EQ(DomainId(piece->domain), fragment.domain);
          const Sum found = streams_[{owner, fragment.domain}][piece->offset_bytes];
          EXPECT_EQ(found, expected);
          ++piece;
        }
      }
  }

  const DispatchSetting& setting_;
  const RowMap& map_;
  const std::vector<std::int32_t>& experts_;
  const std::vector<std::int32_t> slots_;
  IdVector<StageRank, OwnerPlan> owners_;
  std::map<std::pair<StageRank, DomainId>, std::map<std::size_t, Sum>> streams_;  // offset -> piece
  std::set<Label> computed_;
};

/// Nodes of `size` ranks; round-robin placement puts neighbours on different nodes.
Domains domains_of(int ranks, int size, bool round_robin) {
  const int nodes = (ranks + size - 1) / size;
  std::vector<int> ids;
  for (int rank = 0; rank < ranks; ++rank) ids.push_back(round_robin ? rank % nodes : rank / size);
  return Domains(ids);
}

/// Every second one with copies, other ones in each layer.
Grid random_grid(std::mt19937& random, const ModelConfig& config, const Layout& layout) {
  if (random() % 2 == 0) return {config, layout};
  return {config, layout, test::random_placement(random, config, layout.ep)};
}

TEST(DispatchPlan, EveryTermIsComputedOnceAndComesBack) {
  std::mt19937 random(7);
  const ModelConfig models[] = {test::small_model(2, 8, 8, 2), test::small_model(2, 4, 16, 4),
                                test::small_model(2, 1, 4, 1), test::small_model(2, 8, 3, 3)};
  for (const ModelConfig& config : models)
    for (int ranks = 1; ranks <= 24; ++ranks)
      for (const Layout& layout : all_layouts(config, ranks)) {
        if (layout.pp != 1) continue;
        const Grid grid = random_grid(random, config, layout);
        std::vector<std::int64_t> counts(static_cast<std::size_t>(layout.dp));
        for (auto& count : counts) count = random() % 4 == 0 ? 0 : static_cast<std::int64_t>(random() % 9);
        const RowMap map(grid, counts);
        const auto routing = random_routing(random, config, map.num_rows());
        const int size = 1 + static_cast<int>(random() % 5);
        SCOPED_TRACE(fmt::format("{}, nodes of {}", layout.text(), size));
        for (const Domains& domains :
             {Domains::alone(ranks), domains_of(ranks, size, false), domains_of(ranks, size, true)}) {
          const DispatchSetting setting(grid, domains, kSizes);
          Play(setting, domains_of(ranks, size, false), map, routing).run();
        }
      }
}

TEST(DispatchPlan, At1024Ranks) {
  std::mt19937 random(11);
  const ModelConfig config = test::small_model(2, 8, 128, 4);
  for (const Layout layout : {Layout{1, 128, 8, 128, 8}, Layout{1, 1024, 1, 128, 8}}) {
    const Grid grid = random_grid(random, config, layout);
    const RowMap map(grid, std::vector<std::int64_t>(static_cast<std::size_t>(layout.dp), 1));
    const auto routing = random_routing(random, config, map.num_rows());
    for (const int node_ranks : {1, 4, 64}) {
      const DispatchSetting setting(grid, domains_of(1024, node_ranks, false), kSizes);
      Play(setting, domains_of(1024, 8, true), map, routing).run();
    }
  }
}

}  // namespace
}  // namespace moesaic::plan
