#include "moe/combine.hpp"

#include <cstring>

#include "base/aligned_buffer.hpp"
#include "base/parallel.hpp"

namespace moesaic::moe {
namespace {

constexpr std::int64_t kGrain_pieces = 8;  ///< that are worth another thread

/// The sums of a tree, each begun when it is needed: its first value stays where it lies until something is added to
/// it.
class TreeSums {
 public:
  /// The result is in sum 0. begin(k): sum k becomes its first value; add_first(k, into), add_sum(k, into): what sum
  /// `into` gets, k's first value or its sum.
  template <class Begin, class AddFirst, class AddSum>
  void add_up(std::span<const plan::Merge> merges, std::size_t num_sums, Begin&& begin, AddFirst&& add_first,
              AddSum&& add_sum) {
    begun_.assign(num_sums, 0);
    const auto begin_once = [&](int k) {
      if (std::uint8_t& begun = begun_[static_cast<std::size_t>(k)]; begun == 0) begin(k), begun = 1;
    };
    for (const auto& [into, from] : merges) {
      begin_once(into);
      begun_[static_cast<std::size_t>(from)] ? add_sum(from, into) : add_first(from, into);
    }
    begin_once(0);
  }

 private:
  std::vector<std::uint8_t> begun_;  // by sum
};

/// Scratch of one row, kept from call to call.
struct RowScratch {
  TreeSums sums;
  AlignedBuffer slices;                   // fp32 (slices of an expert, D)
  AlignedBuffer gated;                    // fp32 (A, D)
  AlignedBuffer rounded;                  // Act (A, D)
  std::vector<const std::byte*> outputs;  // Act (D) of each expert
  std::vector<plan::Merge> merges;

  /// fp32 (D): partial outputs of one expert, added up by the tree. slice(k): the k-th.
  template <class Slice>
  const float* add_slices(const ops::Kernels& kernels, std::span<const plan::Merge> tree, std::size_t num_slices,
                          std::int64_t width, Slice&& slice) {
    const std::size_t bytes = static_cast<std::size_t>(width) * sizeof(float);
    slices.reserve(num_slices * bytes);
    const auto sum = [&](int k) { return slices.as<float>() + k * width; };
    sums.add_up(
        tree, num_slices, [&](int k) { std::memcpy(sum(k), slice(k), bytes); },
        [&](int k, int into) { kernels.add(reinterpret_cast<const float*>(slice(k)), width, sum(into)); },
        [&](int k, int into) { kernels.add(sum(k), width, sum(into)); });
    return sum(0);
  }
};

/// m(D) = the gated outputs of a row's experts, added up by the tree over the expert index.
void add_experts(const plan::DispatchSetting& setting, const ops::Kernels& kernels,
                 std::span<const std::int32_t> experts, std::span<const float> gates, RowScratch& scratch, float* m) {
  const std::int64_t width = setting.grid.config().emb_size;
  plan::combine_experts(experts, setting.grid.config().num_experts, scratch.merges);
  const auto sum = [&](int a) { return a == 0 ? m : scratch.gated.as<float>() + a * width; };
  const auto output = [&](int a) { return scratch.outputs[static_cast<std::size_t>(a)]; };
  const auto gate = [&](int a) { return gates[static_cast<std::size_t>(a)]; };
  scratch.sums.add_up(
      scratch.merges, experts.size(), [&](int a) { kernels.from_activation(output(a), width, gate(a), sum(a)); },
      [&](int a, int into) { kernels.add_activation(output(a), width, gate(a), sum(into)); },
      [&](int a, int into) { kernels.add(sum(a), width, sum(into)); });
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
    const int slices = static_cast<int>(job.fragment->holders.size());
    if (slices == 1) {
      std::memcpy(out, output(0), term_bytes);
      return;
    }
    thread_local RowScratch scratch;
    const float* const sum =
        scratch.add_slices(kernels, job.fragment->merges, static_cast<std::size_t>(slices), width, output);
    if (job.complete)
      kernels.to_activation(sum, width, out);
    else
      std::memcpy(out, sum, term_bytes);
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
      kernels.to_activation(scratch.add_slices(kernels, tree.merges, num_pieces, width, piece), width, rounded);
      scratch.outputs[a] = rounded;
    }
    add_experts(setting, kernels, std::span(routing.ascending_experts).subspan(first, num_terms),
                std::span(routing.ascending_gates).subspan(first, num_terms), scratch, m + row * width);
  });
}

}  // namespace moesaic::moe
