#include "measure/gemm_layer.hpp"

#include <algorithm>

#include "base/parallel.hpp"
#include "base/random.hpp"
#include "measure/kernel_case.hpp"
#include "start/memory_check.hpp"

namespace moesaic::measure {
GemmLayer::GemmLayer(const comm::Communicator& world, const plan::Grid& grid, const Compute& compute)
    : grid_(grid),
      compute_(compute),
      experts_(grid, *compute_.backend, *compute_.queue),
      router_weights_(random_floats(static_cast<std::size_t>(grid.config().emb_size * grid.config().num_experts), 11)),
      routing_(*compute_.backend) {
  const plan::StageRank me{world.rank()};
  const std::int64_t width = grid.config().emb_size, leaf_size = grid.config().ffn_size / kNumLeaves;
  const std::int64_t leaves = grid.expert_leaves()[grid.slice(me)].size();
  const DType type = packed_type(format_of(compute.numerics()).value_or(WeightFormat::kInt8), compute.numerics());
  const backend::MatrixShape up{type, 1, width, leaves * leaf_size}, down{type, leaves, leaf_size, width};
  backend::Packer& packer = compute_.backend->packer();
  const std::size_t up_bytes = packer.size_bytes(up), expert_bytes = 2 * up_bytes + packer.size_bytes(down);
  if (grid.placement().num_layers() > 1)
    fail("--gemm has one layer's weights, --placement tells {} layers apart; leave one of them out, or give --replicas",
         grid.placement().num_layers());
  const std::vector<ExpertId>& held = grid.placement().experts(ModelLayer(0), grid.subset(me));
  const std::size_t num_local = held.size();
  require_memory(world, {static_cast<std::int64_t>(num_local * expert_bytes), "--gemm: the experts' weights",
                         "use more ranks or nodes, or shorten the experts with --gemm-ffn"});
  memory_ = backend::Buffer(*compute_.backend, backend::Space::kDevice, num_local * expert_bytes);
  for (std::size_t e = 0; e < num_local; ++e) {
    const backend::Bytes expert = memory_.data() + static_cast<std::int64_t>(e * expert_bytes);
    weights_.gate.push_back({up, expert});
    weights_.up.push_back({up, expert + static_cast<std::int64_t>(up_bytes)});
    weights_.down.push_back({down, expert + static_cast<std::int64_t>(2 * up_bytes)});
  }
  parallel_for(std::ssize(held), [&](std::int64_t i) {
    const auto e = static_cast<std::size_t>(i);
    std::uint64_t seed = 3 * held[e].index();
    for (const auto* matrices : {&weights_.gate, &weights_.up, &weights_.down})
      pack_random(packer, (*matrices)[e], seed++);
  });
}

void GemmLayer::route(std::int64_t num_rows) {
  const auto elems = static_cast<std::size_t>(num_rows * grid_.config().emb_size);
  if (rows_.size() < elems) rows_ = random_floats(elems, 12);
  const ModelConfig& c = grid_.config();
  routing_.resize(num_rows * c.num_selected_experts);
  compute_.kernels().route(*compute_.queue, at(rows_.data()), num_rows,
                           {c.emb_size, c.num_experts, c.num_selected_experts}, at(router_weights_.data()),
                           routing_.rows());
}

}  // namespace moesaic::measure
