#include "moe/experts.hpp"

namespace moesaic::moe {

Experts::Experts(const plan::Grid& grid, backend::Backend& backend, backend::Queue& queue)
    : grid_(grid),
      backend_(backend),
      queue_(queue),
      hidden_(backend, backend::Space::kDevice),
      sums_(backend, backend::Space::kDevice) {}

void Experts::run(const ExpertWeights& weights, const ExpertBatch& batch) {
  if (batch.num_terms() == 0) return;
  const backend::Kernels& k = backend_.kernels();
  const std::int64_t num_terms = batch.num_terms(), width = grid_.config().emb_size;
  const std::int64_t num_leaves = weights.down.front().shape.num_leaves;
  const RowForm hidden = input_row(backend_.numerics(), weights.gate.front().shape.num_columns, num_leaves);
  const backend::Groups groups{queue_.argument(std::span(batch.psum_slot_rows)), num_terms};

  hidden_.reserve_rows(num_terms, hidden.row_bytes());
  k.grouped_gated_gelu(queue_, batch.rows.data(), groups, weights.gate, weights.up, num_leaves, hidden_.data());
  if (grid_.layout().etp > 1)
    return k.grouped_gemm(queue_, hidden_.data(), groups, weights.down, batch.outputs.as<float>());
  sums_.reserve_elems<float>(num_terms * width);
  k.grouped_gemm(queue_, hidden_.data(), groups, weights.down, sums_.as<float>());
  k.to_activation(queue_, sums_.as<float>(), width, num_terms, width, 1, batch.outputs);
}

}  // namespace moesaic::moe
