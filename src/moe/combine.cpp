#include "moe/combine.hpp"

#include <cstring>
#include <vector>

#include "plan/leaf_tree.hpp"

namespace moesaic::moe {
namespace {

void add(float* into, const float* from, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) into[i] += from[i];
}

}  // namespace

void combine_terms(const plan::Grid& grid, const plan::DispatchPlan& plan, const Routing& routing,
                   const ops::Kernels& kernels, std::byte* terms, std::int64_t num_rows, float* m) {
  const std::int64_t width = grid.config().emb_size, active = grid.config().num_selected_experts;
  const std::int64_t slices = grid.layout().etp;
  const std::size_t act_bytes = static_cast<std::size_t>(width) * size_bytes(activation_type(kernels.numerics));
  const std::size_t term_bytes = slices == 1 ? act_bytes : static_cast<std::size_t>(width) * sizeof(float);
  const std::vector<plan::Merge> leaf_merges = plan::finish_tree(grid.expert_leaves());

#pragma omp parallel if (num_rows > 1)
  {
    std::vector<float> gated(static_cast<std::size_t>(active * width));
    std::vector<std::byte> rounded(act_bytes);
#pragma omp for
    for (std::int64_t row = 0; row < num_rows; ++row) {
      for (std::int64_t a = 0; a < active; ++a) {
        const std::int32_t* term_of = plan.term_of.data() + (row * active + a) * slices;
        const auto term = [&](int slice) { return terms + static_cast<std::size_t>(term_of[slice]) * term_bytes; };
        const std::byte* output = term(0);
        if (slices > 1) {
          for (const auto& [into, from] : leaf_merges)
            add(reinterpret_cast<float*>(term(into)), reinterpret_cast<const float*>(term(from)), width);
          kernels.to_activation(reinterpret_cast<const float*>(term(0)), width, rounded.data());
          output = rounded.data();
        }
        const float gate = routing.ascending_gates[static_cast<std::size_t>(row * active + a)];
        kernels.from_activation(output, width, gate, gated.data() + a * width);
      }
      const std::int32_t* experts = routing.ascending_experts.data() + row * active;
      for (const auto& [into, from] :
           plan::combine_experts({experts, static_cast<std::size_t>(active)}, grid.config().num_experts))
        add(gated.data() + into * width, gated.data() + from * width, width);
      std::memcpy(m + row * width, gated.data(), static_cast<std::size_t>(width) * sizeof(float));
    }
  }
}

}  // namespace moesaic::moe
