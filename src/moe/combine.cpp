#include "moe/combine.hpp"

#include <cstring>

#include "base/aligned_buffer.hpp"
#include "base/parallel.hpp"

namespace moesaic::moe {
namespace {

constexpr std::int64_t kGrain_pieces = 8;  ///< that are worth another thread

/// sums[into] += sums[from] for the merges of a tree; the result is in sums[0].
template <class Sum>
void add_up(const ops::Kernels& kernels, std::span<const plan::Merge> merges, std::int64_t width, Sum&& sum) {
  for (const auto& [into, from] : merges) kernels.add(sum(from), width, sum(into));
}

/// Scratch of one row, kept from call to call.
struct RowScratch {
  AlignedBuffer gated;    // fp32 (A, D)
  AlignedBuffer rounded;  // Act (D)
  std::vector<plan::Merge> merges;
};

}  // namespace

void write_pieces(const plan::DispatchSetting& setting, const ops::Kernels& kernels,
                  std::span<const plan::PieceJob> jobs, std::span<std::byte* const> outputs, std::byte* stream) {
  const std::int64_t width = setting.grid.config().emb_size;
  const std::size_t term_bytes = setting.term_bytes();
  parallel_for(std::ssize(jobs), kGrain_pieces, [&](std::int64_t i) {
    const plan::PieceJob& job = jobs[static_cast<std::size_t>(i)];
    std::byte* const out = stream + job.offset;
    const auto output = [&](int k) {
      const int member = setting.domains.place(job.fragment->holders[static_cast<std::size_t>(k)]);
      return outputs[static_cast<std::size_t>(member)] + static_cast<std::size_t>(job.place) * term_bytes;
    };
    const int slices = static_cast<int>(job.fragment->holders.size());
    if (slices == 1) {
      std::memcpy(out, output(0), term_bytes);
      return;
    }
    thread_local AlignedBuffer scratch;
    scratch.reserve(static_cast<std::size_t>(slices) * setting.pieces.partial);
    const auto sum = [&](int k) { return scratch.as<float>() + k * width; };
    for (int k = 0; k < slices; ++k) std::memcpy(sum(k), output(k), term_bytes);
    add_up(kernels, job.fragment->merges, width, sum);
    if (job.complete)
      kernels.to_activation(sum(0), width, out);
    else
      std::memcpy(out, sum(0), term_bytes);
  });
}

void combine_pieces(const plan::DispatchSetting& setting, const ops::Kernels& kernels, const plan::OwnerPlan& plan,
                    const Routing& routing, std::span<const std::int32_t> slots, std::span<std::byte* const> streams,
                    float* m) {
  const std::int64_t width = setting.grid.config().emb_size, active = setting.active();
  const std::int64_t num_rows = std::ssize(routing.ascending_experts) / active;
  parallel_for(num_rows, [&](std::int64_t row) {
    thread_local RowScratch scratch;
    scratch.gated.reserve(static_cast<std::size_t>(active * width) * sizeof(float));
    scratch.rounded.reserve(setting.pieces.complete);
    auto* gated = scratch.gated.as<float>();
    for (std::int64_t a = 0; a < active; ++a) {
      const auto choice = static_cast<std::size_t>(row * active + a);
      const auto* pieces = plan.pieces.data() + plan.first_piece[choice];
      const auto piece = [&](int k) { return streams[static_cast<std::size_t>(pieces[k].domain)] + pieces[k].offset; };
      const plan::SubsetTree& tree = setting.tree_of(slots[choice]);
      const std::byte* output = piece(0);
      if (!tree.complete()) {
        add_up(kernels, tree.merges, width, [&](int k) { return reinterpret_cast<float*>(piece(k)); });
        kernels.to_activation(reinterpret_cast<const float*>(piece(0)), width, scratch.rounded.data());
        output = scratch.rounded.data();
      }
      kernels.from_activation(output, width, routing.ascending_gates[choice], gated + a * width);
    }
    const std::int32_t* experts = routing.ascending_experts.data() + row * active;
    plan::combine_experts({experts, static_cast<std::size_t>(active)}, setting.grid.config().num_experts,
                          scratch.merges);
    add_up(kernels, scratch.merges, width, [&](int k) { return gated + k * width; });
    std::memcpy(m + row * width, gated, static_cast<std::size_t>(width) * sizeof(float));
  });
}

}  // namespace moesaic::moe
