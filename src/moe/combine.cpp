#include "moe/combine.hpp"

#include <cstring>

#include "base/aligned_buffer.hpp"
#include "base/parallel.hpp"

namespace moesaic::moe {
namespace {

constexpr std::int64_t kGrain_pieces = 8;  ///< that are worth another thread

/// Scratch of one row, kept from call to call.
struct RowScratch {
  std::vector<const float*> slices;       // of an expert: where their sums lie
  AlignedBuffer sums;                     // fp32 (slices of an expert, D)
  AlignedBuffer gated;                    // fp32 (A, D)
  AlignedBuffer rounded;                  // Act (A, D)
  std::vector<const std::byte*> outputs;  // Act (D) of each expert
  std::vector<plan::Merge> merges;
  std::vector<std::uint8_t> begun;  // by expert: its gated sum is there
};

/// out fp32 (D): partial outputs of one expert, added up by the tree. slice(k): the k-th.
template <class Slice>
void add_slices(const ops::Kernels& kernels, std::span<const plan::Merge> tree, std::size_t num_slices,
                std::int64_t width, RowScratch& scratch, Slice&& slice, float* out) {
  scratch.slices.clear();
  for (std::size_t k = 0; k < num_slices; ++k)
    scratch.slices.push_back(reinterpret_cast<const float*>(slice(static_cast<int>(k))));
  scratch.sums.reserve(num_slices * static_cast<std::size_t>(width) * sizeof(float));
  plan::add_up(
      tree, scratch.slices, out, [&](int k) { return scratch.sums.as<float>() + k * width; },
      [&](const float* x, const float* y, float* sum) { kernels.add(x, y, width, sum); });
}

/// As add_slices(), rounded to Act.
template <class Slice>
void round_slices(const ops::Kernels& kernels, std::span<const plan::Merge> tree, std::size_t num_slices,
                  std::int64_t width, RowScratch& scratch, Slice&& slice, std::byte* out) {
  scratch.sums.reserve(num_slices * static_cast<std::size_t>(width) * sizeof(float));
  float* const sum = scratch.sums.as<float>();
  add_slices(kernels, tree, num_slices, width, scratch, slice, sum);
  kernels.to_activation(sum, width, out);
}

/// m(D) = the gated outputs of a row's experts, added up by the tree over the expert index. A gated output comes into
/// being where it is needed: as the first value of a sum, or while it is added to one.
void add_experts(const plan::DispatchSetting& setting, const ops::Kernels& kernels,
                 std::span<const std::int32_t> experts, std::span<const float> gates, RowScratch& scratch, float* m) {
  const std::int64_t width = setting.grid.config().emb_size;
  plan::combine_experts(experts, setting.grid.config().num_experts, scratch.merges);
  const auto sum = [&](int a) { return a == 0 ? m : scratch.gated.as<float>() + a * width; };
  const auto output = [&](int a) { return scratch.outputs[static_cast<std::size_t>(a)]; };
  const auto gate = [&](int a) { return gates[static_cast<std::size_t>(a)]; };
  const auto begun = [&](int a) -> std::uint8_t& { return scratch.begun[static_cast<std::size_t>(a)]; };
  const auto begin = [&](int a) {
    if (!begun(a)) kernels.from_activation(output(a), width, gate(a), sum(a));
    begun(a) = 1;
  };
  scratch.begun.assign(experts.size(), 0);
  for (const auto& [into, from] : scratch.merges) {
    begin(into);
    if (begun(from))
      kernels.add(sum(into), sum(from), width, sum(into));
    else
      kernels.add_activation(output(from), width, gate(from), sum(into));
  }
  begin(0);
}

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
    const std::size_t slices = job.fragment->holders.size();
    if (slices == 1) {
      std::memcpy(out, output(0), term_bytes);
      return;
    }
    thread_local RowScratch scratch;
    if (job.complete)
      round_slices(kernels, job.fragment->merges, slices, width, scratch, output, out);
    else
      add_slices(kernels, job.fragment->merges, slices, width, scratch, output, reinterpret_cast<float*>(out));
  });
}

void combine_pieces(const plan::DispatchSetting& setting, const ops::Kernels& kernels, const plan::OwnerPlan& plan,
                    const Routing& routing, std::span<const std::int32_t> slots,
                    std::span<const std::byte* const> streams, float* m) {
  const std::int64_t width = setting.grid.config().emb_size, active = setting.active();
  const std::int64_t num_rows = std::ssize(routing.ascending_experts) / active;
  parallel_for(num_rows, [&](std::int64_t row) {
    thread_local RowScratch scratch;
    const auto num_terms = static_cast<std::size_t>(active);
    scratch.gated.reserve(num_terms * setting.pieces.partial);
    scratch.rounded.reserve(num_terms * setting.pieces.complete);
    scratch.outputs.resize(num_terms);
    const std::size_t first = static_cast<std::size_t>(row) * num_terms;
    for (std::size_t a = 0; a < num_terms; ++a) {
      const auto begin = static_cast<std::size_t>(plan.first_piece[first + a]);
      const std::size_t num_pieces = static_cast<std::size_t>(plan.first_piece[first + a + 1]) - begin;
      const auto piece = [&](int k) -> const std::byte* {
        const auto& [domain, offset] = plan.pieces[begin + static_cast<std::size_t>(k)];
        return streams[static_cast<std::size_t>(domain)] + offset;
      };
      const plan::SubsetTree& tree = setting.tree_of(slots[first + a]);
      scratch.outputs[a] = piece(0);
      if (tree.complete()) continue;
      std::byte* const rounded = scratch.rounded.data() + a * setting.pieces.complete;
      round_slices(kernels, tree.merges, num_pieces, width, scratch, piece, rounded);
      scratch.outputs[a] = rounded;
    }
    add_experts(setting, kernels, std::span(routing.ascending_experts).subspan(first, num_terms),
                std::span(routing.ascending_gates).subspan(first, num_terms), scratch, m + row * width);
  });
}

}  // namespace moesaic::moe
