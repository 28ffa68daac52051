#include "plan/placement.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <random>
#include <set>

#include "base/error.hpp"
#include "models.hpp"
#include "plan/dispatch_traffic.hpp"
#include "plan/expected_routing.hpp"
#include "plan/placement_file.hpp"
#include "plan/synthetic_load.hpp"

namespace moesaic::plan {
namespace {

using test::subsets;

double largest(const IdVector<SubsetId, double>& list) { return std::ranges::max(list); }
template <class IdType>
double sum(const IdVector<IdType, double>& list) {
  return std::accumulate(list.begin(), list.end(), 0.0);
}

ExpertLoads zipf_loads(std::int64_t num_experts, double alpha, std::mt19937& random) {
  ExpertLoads loads;
  for (std::int64_t e = 1; e <= num_experts; ++e) loads.push_back(1000 / std::pow(static_cast<double>(e), alpha));
  std::shuffle(loads.begin(), loads.end(), random);
  return loads;
}

Domains nodes_of_size(int ranks, int size) {
  std::vector<int> ids;
  for (int rank = 0; rank < ranks; ++rank) ids.push_back(rank / size);
  return Domains(ids);
}

/// Error unless each expert is held, no subset has one twice; what is held beyond that.
std::int64_t copies_in(const Grid& grid, const Placement::Subsets& held) {
  return Placement(grid.config().num_experts, {held}).num_copies();
}

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Placement, AtHomeSlotsAreExperts) {
  const Placement placement(8, 3);
  EXPECT_TRUE(placement.at_home());
  EXPECT_EQ(placement.num_copies(), 0);
  for (const ExpertId e : ids<ExpertId>(8)) {
    ASSERT_EQ(placement.slots_of(ModelLayer(5), e).size(), 1u);
    EXPECT_EQ(placement.slots_of(ModelLayer(5), e)[0], SlotId(e.value()));
  }
  EXPECT_EQ(placement.slots(SubsetId(2)).values(), (Range{6, 8}));
}

TEST(Placement, SlotsFollowTheLayerWithTheMost) {
  const Placement placement(3, {subsets({{0, 1}, {2}}), subsets({{1}, {0, 1, 2}})});
  EXPECT_FALSE(placement.at_home());
  EXPECT_EQ(placement.num_slots(), 5);  // 2 and 3
  EXPECT_EQ(placement.slots(SubsetId(1)).values(), (Range{2, 5}));
  EXPECT_EQ(placement.num_copies(), 1);
  EXPECT_EQ(placement.slots_of(ModelLayer(0), ExpertId(2)), (std::vector{SlotId(2)}));
  EXPECT_EQ(placement.slots_of(ModelLayer(1), ExpertId(1)), (std::vector{SlotId(0), SlotId(3)}));
  EXPECT_EQ(placement.subset_of_slot(SlotId(3)), SubsetId(1));
}

TEST(Placement, WhatIsNoneIsRefused) {
  const auto refused = [](std::vector<Placement::Subsets> layers) {
    return message_of([&] { Placement(3, std::move(layers), "it"); });
  };
  EXPECT_EQ(refused({subsets({{0, 1}, {1}})}), "it: layer 0: no subset holds expert 2");
  EXPECT_EQ(refused({subsets({{0, 1}, {2, 2}})}),
            "it: layer 0, subset 1: expert 2 after 2, expected ascending ones, each once");
  EXPECT_EQ(refused({subsets({{0, 1}, {2, 3}})}), "it: layer 0, subset 1: expert 3, expected 0 to 2");
  EXPECT_EQ(refused({subsets({{0, 1}, {2}}), subsets({{0, 1, 2}})}), "it: layer 1 has 1 subsets, layer 0 has 2");
  EXPECT_EQ(refused({}), "it: no layers, or no subsets");
}

TEST(Placement, FilesComeBackAndFitOneJob) {
  const ModelConfig config = test::small_model(2, 8, 3, 1);
  const Layout layout{1, 1, 2, 2, 1};
  const Placement placement(3, {subsets({{0, 1}, {2}}), subsets({{1}, {0, 1, 2}})});
  const std::string text = to_text(placement, 2);
  EXPECT_EQ(to_text(placement_from_text(text, "f", config, layout), 2), text);
  const auto refused = [&](const std::string& content, const ModelConfig& model, const Layout& of) {
    return message_of([&] { placement_from_text(content, "f", model, of); });
  };
  const std::string remedy = "; make a placement for this job, moesaic plan --from-trace writes one";
  EXPECT_EQ(refused(text, test::small_model(2, 8, 4, 1), layout),
            "--placement f: num_experts is 3, the model's is 4" + remedy);
  EXPECT_EQ(refused(text, test::small_model(3, 8, 3, 1), layout),
            "--placement f: num_layers is 2, the model's is 3" + remedy);
  EXPECT_EQ(refused(text, config, {1, 1, 3, 3, 1}), "--placement f: num_subsets is 2, the job's ep is 3" + remedy);
  for (const char* broken : {"", "{\"format\": \"\xFF\"}"}) {
    const std::string why = refused(broken, config, layout);
    EXPECT_EQ(why.find("--placement f: not valid JSON: "), 0u) << why;
    EXPECT_TRUE(why.ends_with("; moesaic plan --from-trace writes one")) << why;
  }
  for (const char* broken : {"[]", "{}", "{\"format\": \"moesaic machine 1\"}"})
    EXPECT_EQ(refused(broken, config, layout),
              "--placement f: is not a 'moesaic placement 1' file; moesaic plan --from-trace writes one");
  EXPECT_NE(refused(text.substr(0, text.size() - 3) + ",[[0],[1],[2]]]}", config, layout).find("layer 2"),
            std::string::npos);
}

TEST(Replicas, AsManyAsAStageCanHave) {
  const ModelConfig config = test::small_model(2, 8, 7, 2);
  const Layout layout{1, 1, 4, 4, 1};
  const Grid grid(config, layout);
  for (std::int64_t n = 0; n <= 21; ++n) {
    const Placement placement = place_experts({n, ""}, "", config, layout, nodes_of_size(4, 2));
    EXPECT_EQ(placement.num_copies(), n);
    std::int64_t least = 7, most = 0;
    for (const SubsetId s : grid.subsets()) {
      least = std::min(least, placement.slots(s).size());
      most = std::max(most, placement.slots(s).size());
      const auto& held = placement.experts(ModelLayer(0), s);
      for (const ExpertId e : grid.home_experts(s))
        EXPECT_EQ(std::count(held.begin(), held.end(), e), 1) << "stays at home";
    }
    EXPECT_LE(most - least, 1) << n;
  }
  EXPECT_EQ(
      message_of([&] {
        place_experts({22, ""}, "", config, layout, nodes_of_size(4, 2));
      }),
      "--replicas is 22, expected 0 to 21 ((ep-1)*7 with ep=4: each of the ep subsets holds an expert once at most)");
  EXPECT_NE(message_of([&] { read_placement({1, "f"}); }).find("one of the two"), std::string::npos);
}

TEST(Replicas, TheBusiestSubsetIsNeverBusier) {
  std::mt19937 random(3);
  for (int i = 0; i < 300; ++i) {
    const std::int64_t num_experts = 1 + static_cast<std::int64_t>(random() % 40);
    const int ep = 1 + static_cast<int>(random() % static_cast<unsigned>(num_experts)), etp = 1 << (random() % 3);
    const int ranks = ep * etp;
    const Grid grid(test::small_model(1, 8, num_experts, 1), {1, ranks, 1, ep, etp});
    const Domains nodes = nodes_of_size(ranks, 1 + static_cast<int>(random() % static_cast<unsigned>(ranks)));
    const auto loads = zipf_loads(num_experts, 0.5 * static_cast<double>(random() % 5), random);
    const auto copies = static_cast<std::int64_t>(random()) % ((ep - 1) * num_experts + 1);
    SCOPED_TRACE(fmt::format("E={} ep={} etp={} copies={} nodes={}", num_experts, ep, etp, copies, nodes.size()));
    const auto held = balance_copies(grid, nodes, copies, loads);
    EXPECT_EQ(held, balance_copies(grid, nodes, copies, loads));
    EXPECT_LE(copies_in(grid, held), copies);
    const auto before = subset_loads(grid, nodes, home_subsets(num_experts, ep), loads);
    const auto after = subset_loads(grid, nodes, held, loads);
    EXPECT_LE(largest(after), largest(before) * (1 + 1e-12));
    EXPECT_NEAR(sum(after), sum(before), 1e-9 * sum(before));
  }
}

TEST(Replicas, EnoughCopiesBalanceAHotExpert) {
  const Grid grid(test::small_model(1, 8, 8, 1), {1, 4, 1, 4, 1});
  const Domains node = nodes_of_size(4, 4);
  const ExpertLoads loads({700, 100, 40, 40, 30, 30, 30, 30});  // 3.2 times the mean, on subset 0
  const auto imbalance = [&](std::int64_t copies) {
    return largest(subset_loads(grid, node, balance_copies(grid, node, copies, loads), loads)) / 250;
  };
  EXPECT_NEAR(largest(subset_loads(grid, node, home_subsets(8, 4), loads)) / 250, 3.2, 1e-9);
  EXPECT_NEAR(imbalance(0), 2.8 + 0.12, 0.01);  // the others leave it alone but for one
  EXPECT_LT(imbalance(1), 1.7);
  EXPECT_LT(imbalance(3), 1.25);
}

TEST(Replicas, CopiesGoToOtherNodesFirst) {
  std::mt19937 random(5);
  for (const int etp : {1, 2}) {
    const int ranks = 8 * etp;
    const Grid grid(test::small_model(1, 8, 16, 2), {1, ranks, 1, 8, etp});
    const Domains nodes = nodes_of_size(ranks, 2 * etp);  // 4 nodes of 2 subsets
    const auto loads = zipf_loads(16, 1.2, random);
    for (const std::int64_t copies : {3, 8, 16, 48}) {
      for (const bool traced : {false, true}) {
        const auto held = traced ? balance_copies(grid, nodes, copies, loads) : spread_copies(grid, nodes, copies);
        const auto near = subsets_near(grid, nodes);
        std::int64_t crowded = 0, held_copies = 0;
        for (const ExpertId e : grid.experts()) {
          std::set<DomainId> on;
          std::size_t holders = 0;
          for (const SubsetId s : held.ids())
            if (std::count(held[s].begin(), held[s].end(), e) > 0) {
              ++holders;
              for (const DomainId node : near.ids())
                if (near[node][s]) on.insert(node);
            }
          held_copies += static_cast<std::int64_t>(holders) - 1;
          crowded += on.size() < std::min<std::size_t>(4, holders);
        }
        EXPECT_EQ(held_copies, copies);
        EXPECT_LE(crowded, copies > 16 ? 2 : 0) << "copies " << copies << " traced " << traced << " etp " << etp;
      }
    }
  }
}

TEST(SlotChoice, StaysOnTheNodeAndTakesTurns) {
  const ModelConfig config = test::small_model(1, 8, 4, 1);
  const Grid grid(config, {1, 4, 1, 4, 1}, Placement(4, {subsets({{0, 1}, {0, 1}, {0, 2}, {3}})}));
  const Domains nodes = nodes_of_size(4, 2);
  const auto chosen = [&](std::optional<int> owner, std::int64_t first_row, std::int32_t expert) {
    std::vector<std::int32_t> slots;
    std::vector<int> found;
    const SlotChoice choice(grid, nodes, owner ? std::optional(StageRank{*owner}) : std::nullopt);
    choice.choose(ModelLayer(0), first_row, std::vector<std::int32_t>(4, expert), slots);
    for (const auto slot : slots) found.push_back(grid.placement().subset_of_slot(SlotId(slot)).value());
    return found;
  };
  EXPECT_EQ(chosen(0, 0, 0), (std::vector<int>{0, 1, 0, 1}));
  EXPECT_EQ(chosen(1, 7, 0), (std::vector<int>{1, 0, 1, 0}));
  EXPECT_EQ(chosen(3, 0, 0), (std::vector<int>{2, 2, 2, 2}));  // the only one on the node
  EXPECT_EQ(chosen(3, 0, 1), (std::vector<int>{0, 1, 0, 1}));  // none there
  EXPECT_EQ(chosen(std::nullopt, 0, 0), (std::vector<int>{0, 1, 2, 0}));
  EXPECT_EQ(chosen(2, 0, 3), (std::vector<int>{3, 3, 3, 3}));
}

// What the planner expects is what rows that are drawn by the same loads do.
TEST(SlotChoice, GivesTheLoadsThatWerePlanned) {
  const ModelConfig config = test::small_model(1, 8, 256, 8);
  const Grid home(config, {1, 1024, 1, 128, 8});
  const Domains nodes = nodes_of_size(1024, 16);
  const SyntheticLoad load{LoadKind::kZipf, 1, 2, 4};
  const RowMap rows(home, load.group_rows(home, 2, 0));
  std::vector<std::int32_t> experts(static_cast<std::size_t>(8 * rows.num_rows()));
  std::vector<float> gates(8);
  ExpertLoads loads(256);
  for (std::int64_t row = 0; row < rows.num_rows(); ++row) {
    const auto choice = std::span(experts).subspan(static_cast<std::size_t>(8 * row), 8);
    load.choose(home, 0, row, choice, gates);
    std::sort(choice.begin(), choice.end());
    for (const std::int32_t e : choice) ++loads[ExpertId(e)];
  }
  const auto imbalance = [&](const Grid& grid) {
    const auto terms = terms_of_ranks(grid, slots_of_rows(grid, nodes, rows, ModelLayer(0), experts));
    const double mean = static_cast<double>(std::accumulate(terms.begin(), terms.end(), std::int64_t{0})) / 1024;
    return static_cast<double>(std::ranges::max(terms)) / mean;
  };
  const auto held = balance_copies(home, nodes, 128, loads);
  const Grid placed(config, home.layout(), Placement(256, {held}));
  const double planned = largest(subset_loads(home, nodes, held, loads)) / (sum(loads) / 128);
  EXPECT_NEAR(imbalance(placed), planned, 0.2 * planned);  // some 128 terms a subset
  EXPECT_LT(imbalance(placed), 0.5 * imbalance(home));
}

// What is expected is the mean of all sets of experts, over as many rows as give every copy its turns.
TEST(ExpectedRouting, IsTheMeanOverAllChoices) {
  const ModelConfig config = test::small_model(2, 8, 6, 2);
  struct Case {
    Layout layout;
    int node_ranks;
    std::vector<Placement::Subsets> held;
  };
  const std::vector<Case> cases = {
      {{1, 3, 1, 3, 1}, 1, {home_subsets(6, 3)}},
      {{1, 4, 1, 4, 1}, 2, {subsets({{0, 1, 5}, {0, 2}, {3, 4}, {0, 4, 5}}), subsets({{0, 1}, {2, 3}, {4}, {5}})}},
      {{1, 6, 1, 3, 2}, 3, {subsets({{0, 1, 2, 3}, {2, 3, 4}, {0, 5}})}},
      {{1, 4, 1, 2, 2}, 4, {subsets({{0, 1, 2, 3}, {2, 3, 4, 5}})}},
  };
  for (const auto& [layout, node_ranks, held] : cases) {
    const Grid grid(config, layout, Placement(6, held));
    const int ranks = layout.ranks();
    const Domains nodes = nodes_of_size(ranks, node_ranks);
    const ExpectedRouting expected(grid, nodes);
    double sum_node = 0, sum_away = 0;
    ExpectedRouting::Pair beside, across;
    double num_beside = 0, num_across = 0;
    for (const StageRank owner : grid.ranks()) {
      const SlotChoice choice(grid, nodes, owner);
      IdVector<SubsetId, double> reaches(layout.ep), terms(reaches);
      double reaches_nodes = 0, away = 0, num = 0;
      std::vector<std::int32_t> slots;
      for (const ModelLayer layer : ids<ModelLayer>(std::ssize(held)))
        for (std::int32_t a = 0; a < 6; ++a)
          for (std::int32_t b = a + 1; b < 6; ++b)
            for (std::int64_t turn_a = 0; turn_a < 12; ++turn_a)
              for (std::int64_t turn_b = 0; turn_b < 12; ++turn_b) {  // 12: a multiple of any number of holders
                choice.choose(layer, turn_a, std::vector<std::int32_t>{a, b}, slots);
                const SubsetId of_a = grid.placement().subset_of_slot(SlotId(slots[0]));
                choice.choose(layer, turn_b, std::vector<std::int32_t>{a, b}, slots);
                const SubsetId of_b = grid.placement().subset_of_slot(SlotId(slots[1]));
                ++num;
                ++terms[of_a], ++terms[of_b];
                for (const SubsetId s : grid.subsets()) reaches[s] += s == of_a || s == of_b;
                for (const DomainId node : nodes.ids()) {
                  if (node == nodes.domain(owner)) continue;
                  bool reached = false;
                  for (const StageRank rank : nodes.members(node)) {
                    const SubsetId subset = grid.subset(rank);
                    reached |= subset == of_a || subset == of_b;
                    away += ((subset == of_a) + (subset == of_b)) / (2.0 * layout.etp);
                  }
                  reaches_nodes += reached;
                }
              }
      for (const SubsetId s : grid.subsets()) {
        EXPECT_NEAR(expected.reaches(owner, s), reaches[s] / num, 1e-12) << layout.text();
        EXPECT_NEAR(expected.terms(owner, s), terms[s] / num, 1e-12) << layout.text();
      }
      for (const StageRank other : grid.ranks()) {
        if (other == owner) continue;
        const bool same = nodes.domain(other) == nodes.domain(owner);
        const SubsetId subset = grid.subset(other);
        (same ? beside : across).reaches += reaches[subset] / num;
        (same ? beside : across).terms += terms[subset] / num;
        ++(same ? num_beside : num_across);
      }
      if (nodes.size() > 1) sum_node += reaches_nodes / num / ranks / (nodes.size() - 1);
      sum_away += away / num / ranks;
    }
    if (num_beside > 0) {
      EXPECT_NEAR(expected.beside().reaches, beside.reaches / num_beside, 1e-12) << layout.text();
      EXPECT_NEAR(expected.beside().terms, beside.terms / num_beside, 1e-12) << layout.text();
    }
    if (num_across > 0) {
      EXPECT_NEAR(expected.across().reaches, across.reaches / num_across, 1e-12) << layout.text();
      EXPECT_NEAR(expected.across().terms, across.terms / num_across, 1e-12) << layout.text();
    }
    EXPECT_NEAR(expected.reaches_node(), sum_node, 1e-12) << layout.text();  // nodes have equally many ranks
    EXPECT_NEAR(expected.away(), sum_away, 1e-12) << layout.text();
  }
}

}  // namespace
}  // namespace moesaic::plan
