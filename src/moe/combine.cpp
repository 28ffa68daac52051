#include "moe/combine.hpp"

#include <cstring>

#include "base/aligned_buffer.hpp"
#include "base/parallel.hpp"

namespace moesaic::moe {
namespace {

/// Scratch of one row, kept from call to call.
struct RowScratch {
  AlignedBuffer gated;    // fp32 (A, D)
  AlignedBuffer rounded;  // Act (D)
  std::vector<plan::Merge> merges;
};

}  // namespace

void combine_terms(const plan::Grid& grid, std::span<const plan::Merge> leaf_merges, const plan::DispatchPlan& plan,
                   const Routing& routing, const ops::Kernels& kernels, std::byte* terms, std::int64_t num_rows,
                   float* m) {
  const std::int64_t width = grid.config().emb_size, active = grid.config().num_selected_experts;
  const std::int64_t slices = grid.layout().etp;
  const std::size_t act_bytes = static_cast<std::size_t>(width) * size_bytes(activation_type(kernels.numerics));
  const std::size_t term_bytes = slices == 1 ? act_bytes : static_cast<std::size_t>(width) * sizeof(float);

  parallel_for(num_rows, [&](std::int64_t row) {
    thread_local RowScratch scratch;
    scratch.gated.reserve(static_cast<std::size_t>(active * width) * sizeof(float));
    scratch.rounded.reserve(act_bytes);
    auto* gated = scratch.gated.as<float>();
    for (std::int64_t a = 0; a < active; ++a) {
      const std::int32_t* term_of = plan.term_of.data() + (row * active + a) * slices;
      const auto term = [&](int slice) { return terms + static_cast<std::size_t>(term_of[slice]) * term_bytes; };
      const std::byte* output = term(0);
      if (slices > 1) {
        for (const auto& [into, from] : leaf_merges)
          kernels.add(reinterpret_cast<const float*>(term(from)), width, reinterpret_cast<float*>(term(into)));
        kernels.to_activation(reinterpret_cast<const float*>(term(0)), width, scratch.rounded.data());
        output = scratch.rounded.data();
      }
      const float gate = routing.ascending_gates[static_cast<std::size_t>(row * active + a)];
      kernels.from_activation(output, width, gate, gated + a * width);
    }
    const std::int32_t* experts = routing.ascending_experts.data() + row * active;
    plan::combine_experts({experts, static_cast<std::size_t>(active)}, grid.config().num_experts, scratch.merges);
    for (const auto& [into, from] : scratch.merges) kernels.add(gated + from * width, width, gated + into * width);
    std::memcpy(m + row * width, gated, static_cast<std::size_t>(width) * sizeof(float));
  });
}

}  // namespace moesaic::moe
