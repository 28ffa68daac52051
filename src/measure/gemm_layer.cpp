#include "measure/gemm_layer.hpp"

#include <algorithm>

#include "base/parallel.hpp"
#include "base/random.hpp"
#include "base/units.hpp"
#include "engine/memory_check.hpp"
#include "measure/kernel_case.hpp"

namespace moesaic::measure {
namespace {}  // namespace

GemmLayer::GemmLayer(const comm::Communicator& world, const plan::Grid& grid, const ops::Kernels& kernels)
    : grid_(grid),
      router_(kernels, grid.config().emb_size, grid.config().num_experts, grid.config().num_selected_experts),
      experts_(grid, kernels),
      router_weights_(random_floats(static_cast<std::size_t>(grid.config().emb_size * grid.config().num_experts), 11)) {
  const plan::StageRank me{world.rank()};
  const std::int64_t width = grid.config().emb_size, leaf_size = grid.config().ffn_size / kNumLeaves;
  const std::int64_t leaves = grid.expert_leaves()[static_cast<std::size_t>(grid.slice(me))].size();
  const DType type = packed_type(format_of(kernels.numerics).value_or(WeightFormat::kInt8), kernels.numerics);
  const ops::MatrixShape up{type, 1, width, leaves * leaf_size}, down{type, leaves, leaf_size, width};
  const std::size_t up_bytes = aligned(up.total_bytes()), expert_bytes = 2 * up_bytes + aligned(down.total_bytes());
  if (grid.placement().num_layers() > 1)
    fail("--gemm has one layer's weights, --placement tells {} layers apart; leave one of them out, or give --replicas",
         grid.placement().num_layers());
  const std::vector<std::int32_t>& held = grid.placement().experts(0, grid.subset(me));
  const std::size_t num_local = held.size();
  require_memory(world, {static_cast<std::int64_t>(num_local * expert_bytes), "--gemm: the experts' weights",
                         "use more ranks or nodes, or shorten the experts with --gemm-ffn"});
  memory_ = AlignedBuffer(num_local * expert_bytes);
  for (std::size_t e = 0; e < num_local; ++e) {
    std::byte* const expert = memory_.data() + e * expert_bytes;
    weights_.push_back({{up, expert}, {up, expert + up_bytes}, {down, expert + 2 * up_bytes}});
  }
  parallel_for(std::ssize(weights_), [&](std::int64_t e) {
    const auto& [gate, linear, output] = weights_[static_cast<std::size_t>(e)];
    std::uint64_t seed = 3 * static_cast<std::uint64_t>(held[static_cast<std::size_t>(e)]);
    for (const ops::PackedMatrix& matrix : {gate, linear, output})
      pack_random(matrix.shape, seed++, const_cast<std::byte*>(matrix.data));
  });
}

void GemmLayer::route(std::int64_t num_rows) {
  const auto elems = static_cast<std::size_t>(num_rows * grid_.config().emb_size);
  if (rows_.size() < elems) rows_ = random_floats(elems, 12);
  router_.route(rows_.data(), num_rows, router_weights_.data(), routing_);
}

}  // namespace moesaic::measure
