// Every dispatch algorithm, over MPI, against the sequential twin: each row bit for bit, and the bytes on the wire
// against the count by the rule. A seed gives geometry, layout, nodes, numeric mode, payload, instruction path and a
// few layers in a row, whose loads and owners change while the dispatchers stay.

#include "moe/dispatch.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <optional>
#include <random>

#include "base/aligned_buffer.hpp"
#include "base/parallel.hpp"
#include "comm/mailbox.hpp"
#include "config/grok1.hpp"
#include "cpu/isa.hpp"
#include "measure/stand_in_experts.hpp"
#include "plan/dispatch_traffic.hpp"
#include "plan/planner.hpp"
#include "plan/slot_choice.hpp"
#include "plan/synthetic_load.hpp"
#include "support/random_placement.hpp"

namespace moesaic::moe {
namespace {

using measure::StandInExperts;
using plan::DispatchAlgorithm;

constexpr std::int64_t kLayers = 3;  ///< that follow each other

template <class List>
const auto& any_of(std::mt19937& random, const List& list) {
  return list[random() % std::size(list)];
}

/// What a seed stands for; the same on all ranks.
struct Case {
  ModelConfig config = kGrok1;
  plan::Layout layout;
  std::vector<int> node_of;
  Numerics numerics = Numerics::kF32;
  DispatchPayload payload = DispatchPayload::kAct;
  cpu::Isa isa = cpu::Isa::kPortable;
  int num_threads = 1;
  std::optional<plan::Placement> placement;  // of the layers, each with other copies

  Case(std::mt19937& random, int ranks) {
    constexpr std::int64_t kExperts[] = {1, 2, 3, 5, 7, 8, 8, 16, 20}, kWidths[] = {8, 24, 64, 72, 256};
    do {
      config.emb_size = any_of(random, kWidths);
      config.num_layers = 1;
      config.num_kv_heads = random() % 3 == 0 ? 2 : 8;
      config.num_q_heads = config.num_kv_heads;
      config.num_experts = any_of(random, kExperts);
      config.num_selected_experts =
          1 + static_cast<std::int64_t>(random()) % std::min<std::int64_t>(8, config.num_experts);
      const auto layouts = plan::all_layouts(config, ranks);
      if (!layouts.empty()) layout = any_of(random, layouts);
    } while (layout.ranks() != ranks || layout.pp != 1);
    const int nodes = 1 + static_cast<int>(random() % static_cast<unsigned>(ranks)),
              arrangement = static_cast<int>(random() % 3);
    for (int rank = 0; rank < ranks; ++rank)
      node_of.push_back(arrangement == 0   ? rank * nodes / ranks
                        : arrangement == 1 ? rank % nodes
                                           : static_cast<int>(random() % static_cast<unsigned>(nodes)));
    numerics = any_of(random, std::array{Numerics::kF32, Numerics::kW8A16, Numerics::kW8A8, Numerics::kW8I16});
    payload = any_of(random, kAllDispatchPayloads);
    isa = any_of(random, cpu::kAllIsas);
    if (!cpu::supported(isa)) isa = cpu::Isa::kPortable;
    if (ranks <= 4) num_threads = 1 + static_cast<int>(random() % 3);
    if (random() % 2 == 0) return;
    config.num_layers = kLayers;
    placement = test::random_placement(random, config, layout.ep);
  }

  plan::Grid grid() const { return placement ? plan::Grid(config, layout, *placement) : plan::Grid(config, layout); }

  std::string text() const {
    std::string nodes;
    for (const int node : node_of) nodes += fmt::format(" {}", node);
    return fmt::format("{}, D={} E={} A={}, {} copies, {}, {}, nodes{}", layout.text(), config.emb_size,
                       config.num_experts, config.num_selected_experts, placement ? placement->num_copies() : 0,
                       NumericSetting{numerics, payload}.text(), cpu::name(isa), nodes);
  }
};

/// One layer's rows, seen from one rank.
struct Layer {
  ModelLayer number;
  plan::RowMap rows;
  AlignedBuffer n;                        // Input (own rows, D)
  HostRouting routing;                    // of own rows
  std::vector<std::int32_t> all_experts;  // of all rows, ascending

  Layer(const plan::SyntheticLoad& load, std::int64_t step, std::int64_t rows_a_rank, const plan::Grid& grid,
        plan::StageRank me, plan::Ownership ownership, const StandInExperts& experts)
      : number(step), rows(grid, load.group_rows(grid, rows_a_rank, step), ownership) {
    const auto active = static_cast<std::size_t>(grid.config().num_selected_experts);
    const Range own = rows.rows(me);
    n.reserve(static_cast<std::size_t>(own.size()) * experts.row_bytes());
    std::vector<std::int32_t> ids(active);
    std::vector<float> gates(active);
    std::vector<std::size_t> order(active);
    for (std::int64_t row = 0; row < rows.num_rows(); ++row) {
      load.choose(grid, step, row, ids, gates);
      std::iota(order.begin(), order.end(), 0);
      std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return ids[a] < ids[b]; });
      for (const std::size_t a : order) all_experts.push_back(ids[a]);
      if (!own.contains(row)) continue;
      experts.make_row(row + 1000 * step, n.data() + static_cast<std::size_t>(row - own.begin) * experts.row_bytes());
      routing.experts.insert(routing.experts.end(), ids.begin(), ids.end());
      routing.gates.insert(routing.gates.end(), gates.begin(), gates.end());
      for (const std::size_t a : order) {
        routing.ascending_experts.push_back(ids[a]);
        routing.ascending_gates.push_back(gates[a]);
      }
    }
  }
};

class Job {
 public:
  Job(const Case& setting, const comm::Communicator& world)
      : world_(world),
        grid_(setting.grid()),
        compute_(measure::Compute::cpu(std::string(cpu::name(setting.isa)), setting.numerics)),
        payload_(setting.payload),
        me_{world.rank()},
        node_of_(setting.node_of),
        experts_(grid_, compute_, payload_),
        routing_(*compute_.backend),
        batch_(*compute_.backend) {
    for (const DispatchAlgorithm algorithm : plan::kAllDispatchAlgorithms)
      dispatchers_.push_back(
          make_dispatcher(algorithm, grid_, node_of_, world, *compute_.backend, *compute_.queue, payload_));
  }

  void layer(DispatchAlgorithm algorithm, const plan::SyntheticLoad& load, std::int64_t step,
             std::int64_t rows_a_rank) {
    const auto ownership =
        algorithm == DispatchAlgorithm::kDense ? plan::Ownership::kReplicated : plan::Ownership::kShared;
    const Layer layer(load, step, rows_a_rank, grid_, me_, ownership, experts_);
    const comm::Traffic before = comm::traffic();
    const std::vector<float> m = forward(algorithm, layer);
    expect_traffic(algorithm, layer, before);
    expect_rows(layer, m);
  }

 private:
  std::size_t width() const { return static_cast<std::size_t>(grid_.config().emb_size); }

  std::vector<float> forward(DispatchAlgorithm algorithm, const Layer& layer) {
    std::vector<float> m(static_cast<std::size_t>(layer.rows.rows(me_).size()) * width(), NAN);
    Dispatcher& dispatcher = *dispatchers_[static_cast<std::size_t>(algorithm)];
    routing_.assign(layer.routing);
    dispatcher.start_dispatch(measure::at(layer.n.data()), layer.rows, routing_, layer.number);
    while (dispatcher.next_batch(batch_)) {
      experts_.run(me_, layer.number, batch_);
      dispatcher.start_combine();
    }
    dispatcher.finish_combine(measure::at(m.data()));
    return m;
  }

  void expect_rows(const Layer& layer, const std::vector<float>& m) {
    const auto active = static_cast<std::size_t>(grid_.config().num_selected_experts);
    std::vector<float> expected(width());
    int num_wrong = 0;
    for (std::size_t row = 0; row < m.size() / width(); ++row) {
      experts_.expected(layer.n.data() + row * experts_.row_bytes(),
                        std::span(layer.routing.ascending_experts).subspan(row * active, active),
                        std::span(layer.routing.ascending_gates).subspan(row * active, active), expected.data());
      if (std::memcmp(expected.data(), m.data() + row * width(), width() * sizeof(float)) == 0) continue;
      if (num_wrong++ > 0) continue;
      std::size_t i = 0;
      while (std::memcmp(&expected[i], &m[row * width() + i], sizeof(float)) == 0) ++i;
      ADD_FAILURE() << "own row " << row << " of " << m.size() / width() << ", column " << i << ": "
                    << m[row * width() + i] << ", expected " << expected[i];
    }
    EXPECT_EQ(num_wrong, 0) << "wrong rows";
  }

  void expect_traffic(DispatchAlgorithm algorithm, const Layer& layer, const comm::Traffic& before) {
    const auto domains =
        algorithm == DispatchAlgorithm::kHier ? plan::Domains(node_of_) : plan::Domains::alone(world_.size());
    const plan::DispatchSetting setting(grid_, domains, piece_sizes(grid_, compute_.numerics()));
    const plan::DispatchTraffic expected = dispatch_traffic(
        setting, algorithm, layer.rows, plan::row_message(grid_.config(), {compute_.numerics(), payload_}),
        plan::slots_of_rows(grid_, plan::Domains(node_of_), layer.rows, layer.number, layer.all_experts));
    const auto grown = [](const auto& now, const auto& then, plan::StageRank peer) {
      const std::size_t i = peer.index();
      return (i < now.size() ? now[i] : 0) - (i < then.size() ? then[i] : 0);
    };
    for (const plan::StageRank peer : grid_.ranks()) {
      const std::size_t pair = expected.dispatch.at(me_, peer);
      EXPECT_EQ(grown(comm::traffic().bytes, before.bytes, peer),
                expected.dispatch.bytes[pair] + expected.combine.bytes[pair])
          << "bytes to rank " << peer.value();
      EXPECT_EQ(grown(comm::traffic().messages, before.messages, peer),
                expected.dispatch.messages[pair] + expected.combine.messages[pair])
          << "messages to rank " << peer.value();
    }
  }

  const comm::Communicator& world_;
  const plan::Grid grid_;
  const measure::Compute compute_;
  const DispatchPayload payload_;
  const plan::StageRank me_;
  const std::vector<int> node_of_;
  const StandInExperts experts_;
  std::vector<std::unique_ptr<Dispatcher>> dispatchers_;
  Routing routing_;
  ExpertBatch batch_;
};

/// 1,000 over all rank counts of an ordinary run; with MOESAIC_EVERY_SEED in each.
std::uint32_t num_seeds(int ranks) {
  constexpr std::uint32_t kEvery = 1000, kOfManyRanks = 30;
  constexpr std::uint32_t kOrdinary[] = {0, 300, 400, 200, 150, 0, 100, 0, 60};
  if (std::getenv("MOESAIC_EVERY_SEED")) return kEvery;
  return static_cast<std::size_t>(ranks) < std::size(kOrdinary) ? kOrdinary[ranks] : kOfManyRanks;
}

TEST(Dispatch, EveryAlgorithmGivesTheSequentialTwinsBits) {
  const auto world = comm::Communicator::world();
  constexpr std::int64_t kRowsARank[] = {0, 1, 1, 2, 3, 8, 17, 40, 100};
  const char* only = std::getenv("MOESAIC_SEED");
  const std::uint32_t last = num_seeds(world.size());
  for (std::uint32_t seed = 0; seed < last; ++seed) {
    if (only && std::to_string(seed) != only) continue;
    std::mt19937 random(seed * 64 + static_cast<std::uint32_t>(world.size()));
    const Case setting(random, world.size());
    SCOPED_TRACE(fmt::format("MOESAIC_SEED={}: {}", seed, setting.text()));
    make_team({setting.num_threads, false, {}});
    Job job(setting, world);
    std::vector<DispatchAlgorithm> order(std::begin(plan::kAllDispatchAlgorithms),
                                         std::end(plan::kAllDispatchAlgorithms));
    for (std::int64_t step = 0; step < kLayers; ++step) {
      const plan::SyntheticLoad load{any_of(random, plan::kAllLoadKinds), 1.5, 2, random()};
      const std::int64_t rows_a_rank = any_of(random, kRowsARank);
      std::shuffle(order.begin(), order.end(), random);
      for (const DispatchAlgorithm algorithm : order) {
        SCOPED_TRACE(
            fmt::format("layer {}: {} rows a rank, {}, {}", step, rows_a_rank, name(load.kind), name(algorithm)));
        job.layer(algorithm, load, step, rows_a_rank);
      }
    }
    if (world.max(testing::Test::HasFailure()) > 0) break;  // one seed to look at is enough
  }
  make_team({1, false, {}});
}

}  // namespace
}  // namespace moesaic::moe
