#include "moe/experts.hpp"

namespace moesaic::moe {

void Experts::run(std::span<const ExpertWeights> weights, ExpertBatch& batch) {
  const std::int64_t width = grid_.config().emb_size;
  const std::size_t row_bytes = GemmInput{kernels_.numerics, width}.row_bytes();
  const bool complete = grid_.layout().etp == 1;
  const std::size_t output_bytes =
      static_cast<std::size_t>(width) * (complete ? size_bytes(activation_type(kernels_.numerics)) : sizeof(float));
  for (std::size_t e = 0; e < weights.size(); ++e) {
    const Range terms = batch.expert_terms(static_cast<std::int64_t>(e));
    if (terms.empty()) continue;
    const auto& [gate, up, down] = weights[e];
    const GemmInput hidden{kernels_.numerics, gate.shape.num_columns, down.shape.num_leaves};
    const std::byte* x = batch.rows.data() + static_cast<std::size_t>(terms.begin) * row_bytes;
    std::byte* output = batch.outputs + static_cast<std::size_t>(terms.begin) * output_bytes;

    hidden_.reserve(static_cast<std::size_t>(terms.size()) * hidden.row_bytes());
    kernels_.gated_gelu(x, terms.size(), gate, up, hidden.num_leaves, hidden_.data());
    if (!complete) {
      kernels_.gemm(hidden_.data(), terms.size(), down, reinterpret_cast<float*>(output), width);
      continue;
    }
    sums_.reserve(static_cast<std::size_t>(terms.size() * width) * sizeof(float));
    kernels_.gemm(hidden_.data(), terms.size(), down, sums_.as<float>(), width);
    kernels_.to_activation(sums_.as<float>(), terms.size() * width, output);
  }
}

}  // namespace moesaic::moe
