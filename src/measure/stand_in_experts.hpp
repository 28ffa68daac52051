#pragma once

#include <span>
#include <vector>

#include "config/numeric_setting.hpp"
#include "measure/compute.hpp"
#include "moe/expert_batch.hpp"
#include "plan/grid.hpp"

namespace moesaic::measure {

/// Experts without weights, to check dispatch and combine with.
enum class StandIn : std::uint8_t {
  kTree,  ///< depends on each byte of the row, on the expert and on the leaf, and adds up to other bits in another
          ///< order
  kCopy,  ///< depends on the row's first bytes and on the expert, all in leaf 0: costs a copy of the output
};

class StandInExperts {
 public:
  StandInExperts(const plan::Grid& grid, const Compute& compute, DispatchPayload payload = DispatchPayload::kAct);

  /// As moe::Experts::run(): writes batch.outputs, the outputs of rank `me`'s experts of a layer on batch.rows.
  void run(plan::StageRank me, ModelLayer layer, moe::ExpertBatch& batch, StandIn kind = StandIn::kTree) const;

  /// The sequential twin of dispatch, experts and combine, for one row by itself: m (D). row: Input (D), as it is
  /// before dispatch; the experts ascending, with their gates. Written from docs/numerics.md, shares no code with moe
  /// and plan.
  void expected(const std::byte* row, std::span<const std::int32_t> experts, std::span<const float> gates, float* m,
                StandIn kind = StandIn::kTree) const;

  /// Input (D) of a row, by its number in the stage.
  void make_row(std::int64_t row, std::byte* to) const;
  std::size_t row_bytes() const { return input_.row_bytes(); }
  std::size_t width() const { return static_cast<std::size_t>(width_); }
  /// Whether experts get other rows than dispatch is given.
  bool rounds() const { return rounds_; }

  /// Input (D) of a row as experts get it: with a payload of int8, what is left of it. The twin of what kernels do.
  std::vector<std::byte> as_experts_get(const std::byte* row) const;
  /// fp32 (D) of Input.
  std::vector<float> values_of(const std::byte* row) const;

 private:
  /// y = x(D) as the activations of a complete output.
  void to_activation(const float* x, std::byte* y) const;
  std::uint64_t key(const std::byte* row, StandIn kind) const;
  std::size_t place(std::uint64_t key, ExpertId expert, std::int64_t leaf) const;
  /// The number of the output that an expert copies.
  std::size_t copy(std::uint64_t key, ExpertId expert) const;
  /// What an expert's leaf adds to the output: fp32 (D).
  const float* leaf(std::uint64_t key, ExpertId expert, std::int64_t leaf) const;
  /// sum (D) of a complete subtree of leaves, by the tree.
  void add_up(std::uint64_t key, ExpertId expert, Range leaves, float* sum) const;

  const plan::Grid& grid_;
  const Compute compute_;
  const bool rounds_;
  std::int64_t width_;
  RowForm input_, act_;            // of a row, of a complete output
  std::vector<float> values_;      // a leaf's output is D of them that follow each other
  std::vector<std::byte> copies_;  // Act (kCopies, D): outputs that are complete
};

}  // namespace moesaic::measure
