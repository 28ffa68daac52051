#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "backend/block_sum.hpp"
#include "backend/matrix.hpp"
#include "backend/queue.hpp"
#include "config/kv_page.hpp"
#include "config/numeric_setting.hpp"
#include "config/row_form.hpp"
#include "plan/row_moves.hpp"
#include "plan/tree_table.hpp"

/// The one list of signatures of the kernels. Every backend fills in one `Kernels` for each numeric mode; all of a mode
/// give the same bits, for any number of rows in a call and any number of threads. The arithmetic (orders, rounding
/// points) is defined in docs/numerics.md. A kernel may run after its call has returned (Queue). Rows are contiguous
/// unless a stride is given; `Act` in a comment stands for rows of activations of the mode, `Input` for rows of inputs
/// of its weight matrices (config/row_form.hpp: floats, bf16, or integers with scales); both are passed as bytes.
namespace moesaic::backend {

/// Rows of several experts in one call: those of group g are psum_rows[g] to psum_rows[g + 1].
struct Groups {
  Ptr<const std::int32_t> psum_rows;  ///< (groups + 1)
  std::int64_t num_rows = 0;          ///< of all groups
};

/// Where a row stands in its sequence, and where the sequence's blocks stand in the PageTable.
struct RowContext {
  std::int32_t position = 0;
  std::int32_t first_block = 0;
};

/// Rows of a batch and the blocks of the KV cache that their sequences have: block first_block + b of a row holds its
/// sequence's positions [64 b, 64 b + 64) for all layers and kv heads of this rank; page_offset bytes into it lies the
/// page of (layer, kv head 0), the pages of the next kv heads follow.
struct PageTable {
  Ptr<const RowContext> rows;
  Ptr<const Bytes> blocks;
  std::int64_t num_rows = 0;
};

struct AttentionShape {
  KvPageShape page;
  std::int64_t num_kv_heads = 0;  ///< of this rank
  std::int64_t q_per_kv = 0;      ///< H / G
  float multiplier = 0;           ///< applied to q.k
  float cap = 0;                  ///< score = cap * tanh(score / cap); the softmax's maximum is taken to be cap

  constexpr std::int64_t num_q_heads() const { return num_kv_heads * q_per_kv; }
};

/// The additions that finish the leaf tree from partial sums.
struct SumTree {
  std::array<plan::Merge, kNumLeaves - 1> merges;
  std::int32_t num_merges = 0;

  explicit SumTree(std::span<const plan::Merge> list) : num_merges(static_cast<std::int32_t>(list.size())) {
    std::copy(list.begin(), list.end(), merges.begin());
  }
};

/// What a router makes of rows: the num_active experts of each row and their gates.
struct RouterShape {
  std::int64_t width = 0, num_experts = 0, num_active = 0;  ///< D, E, A
};

/// Where route() puts its results, each (rows, A).
struct RoutedRows {
  Ptr<std::int32_t> experts;            ///< best first; equal gates: the lower index first
  Ptr<float> gates;                     ///< of the same experts
  Ptr<std::int32_t> ascending_experts;  ///< the same experts by ascending index
  Ptr<float> ascending_gates;
};

/// A plan::TreeTable where kernels read it.
struct TreeList {
  Ptr<const plan::TreeTable::Tree> trees;
  Ptr<const std::int32_t> parts;
  Ptr<const plan::Merge> merges;

  TreeList(Queue& queue, const plan::TreeTable& table)
      : trees(queue.argument(std::span(table.trees))),
        parts(queue.argument(std::span(table.parts))),
        merges(queue.argument(std::span(table.merges))) {}
};

/// What combine_rows() adds up: of each row the pieces of its A experts, by ascending expert.
struct PiecesOfRows {
  std::int64_t num_rows = 0, width = 0;          ///< T, D
  std::int64_t num_experts = 0, num_active = 0;  ///< E, A
  Ptr<const std::int32_t> experts;               ///< (T, A) ascending
  Ptr<const float> gates;                        ///< (T, A) of the same experts
  Ptr<const std::int32_t> trees;                 ///< (T, A) how the pieces of each come together
  Ptr<const std::int32_t> first_piece;           ///< (T A + 1)
  Ptr<const plan::PieceSource> pieces;
  Ptr<const ConstBytes> streams;  ///< by domain
};

struct Kernels {
  // Rows of the residual stream.

  /// y(rows, width) = x * (1 / sqrt(mean(x^2) + eps)) * scale(width), fp32.
  void (*rms_norm)(Queue&, Ptr<const float> x, Ptr<const float> scale, std::int64_t num_rows, std::int64_t width,
                   float eps, Ptr<float> y);

  /// y(rows, width) Input, with num_leaves leaves = x, rounded or quantised; a copy in f32 mode.
  void (*to_input)(Queue&, Ptr<const float> x, std::int64_t num_rows, std::int64_t width, std::int64_t num_leaves,
                   Bytes y);

  /// y(rows, width) Act = round(x), row stride of x x_stride elements; a copy in f32 mode. num_parts: those of the row
  /// that have a scale of their own where Act has scales.
  void (*to_activation)(Queue&, Ptr<const float> x, std::int64_t x_stride, std::int64_t num_rows, std::int64_t width,
                        std::int64_t num_parts, Bytes y);

  /// sum(n) = x(n) + y(n), fp32; sum may be x or y.
  void (*add)(Queue&, Ptr<const float> x, Ptr<const float> y, std::int64_t n, Ptr<float> sum);

  /// x(n) = x(n) * factor, fp32.
  void (*scale)(Queue&, float factor, std::int64_t n, Ptr<float> x);

  /// to(rows, row_bytes) = from[index[row]]; without an index the rows in their order.
  void (*gather_rows)(Queue&, ConstBytes from, Ptr<const std::int32_t> index, std::int64_t num_rows,
                      std::size_t row_bytes, Bytes to);

  /// sum(n) = the tree over parts(parts, n), which are used up, fp32.
  void (*finish_tree)(Queue&, const SumTree& tree, Ptr<float> parts, std::int64_t n, Ptr<float> sum);

  // Products with matrices.

  /// y(rows, columns) = leaf tree over l of scale(l, column) * sum over inputs of leaf l of x(row, input) * W(input,
  /// column). W: a weight matrix, x: Input, with W's leaves; or W: Act (the head), x: Act. y: row stride y_stride
  /// elements.
  void (*gemm)(Queue&, ConstBytes x, std::int64_t num_rows, const Matrix& w, Ptr<float> y, std::int64_t y_stride);

  /// y(rows, columns) = x . W of the row's group, as gemm() makes it. The matrices are of one shape and outlive the
  /// call's kernels.
  void (*grouped_gemm)(Queue&, ConstBytes x, const Groups& groups, std::span<const Matrix> w, Ptr<float> y);

  /// h(rows, columns) Input, with num_leaves leaves = gelu(x.gate) * (x.up), gate and up of the row's group; x: Input;
  /// gate and up: one leaf each, same shape.
  void (*grouped_gated_gelu)(Queue&, ConstBytes x, const Groups& groups, std::span<const Matrix> gate,
                             std::span<const Matrix> up, std::int64_t num_leaves, Bytes h);

  // Attention.

  /// Rotates x(rows, heads, K) in place, row stride x_stride elements: (a, b) = (x[j], x[j+K/2]) ->
  /// (a cos - b sin, b cos + a sin), products rounded; cosines and sines are tables (position, K/2).
  void (*rope)(Queue&, Ptr<float> x, std::int64_t x_stride, std::int64_t num_heads, std::int64_t key_size,
               const PageTable& pages, Ptr<const float> cosines, Ptr<const float> sines);

  /// Rounds k(rows, kv heads, K) and v(rows, kv heads, K), row stride elements, into the rows' pages.
  void (*write_kv)(Queue&, Ptr<const float> k, Ptr<const float> v, std::int64_t stride, const AttentionShape& shape,
                   const PageTable& pages, std::int64_t page_offset);

  /// out(rows, q heads, K) Input, with num_leaves leaves = softmax(capped scores of q with the keys at positions 0 ...
  /// row's) . values. q: Act (rows, q heads, K), a part for each head. Every key must have been written before.
  void (*attention)(Queue&, ConstBytes q, const AttentionShape& shape, const PageTable& pages, std::int64_t page_offset,
                    std::int64_t num_leaves, Bytes out);

  // Experts.

  /// logits(rows, E) = x(rows, D) . w(D, E), fp32, products rounded, in 16 lanes as rms_norm() adds; softmax over all E;
  /// the A largest.
  void (*route)(Queue&, Ptr<const float> x, std::int64_t num_rows, const RouterShape& shape, Ptr<const float> w,
                const RoutedRows& routed);

  /// Rows (rows, D) as they travel to the experts, rounded to int8 with a scale a row, from Input.
  void (*encode_rows)(Queue&, ConstBytes x, std::int64_t num_rows, std::int64_t width, Bytes y);

  /// rows(terms, D) Input = the source of each, in one of the blocks of rows as they travel.
  void (*permute)(Queue&, Ptr<const ConstBytes> blocks, Ptr<const plan::RowSource> sources, std::int64_t num_terms,
                  const NumericSetting& setting, std::int64_t width, Bytes rows);

  /// stream = the pieces of some jobs, each the tree's sum (D) over its parts of the outputs (terms, D): Act where one
  /// rank has a whole expert, else fp32. term_bytes: of a row of the outputs.
  void (*write_pieces)(Queue&, Ptr<const plan::PieceJob> jobs, std::int64_t num_jobs, const TreeList& trees,
                       Ptr<const ConstBytes> outputs, std::size_t term_bytes, std::int64_t width, Bytes stream);

  /// m(rows, D) fp32: of each row the outputs of its experts, each completed by its tree and rounded to Act, times its
  /// gate, added up in the fixed tree over the expert index.
  void (*combine_rows)(Queue&, const PiecesOfRows& pieces, const TreeList& trees, Ptr<float> m);

  // Embedding and head.

  /// y(columns, D) Act = some columns of a matrix of one leaf of Act.
  void (*gather_columns)(Queue&, const Matrix& w, Ptr<const std::int32_t> columns, std::int64_t num_columns, Bytes y);

  /// x(places[row], width) = float(y Act(row, width)) * factor.
  void (*scatter_activations)(Queue&, ConstBytes y, Ptr<const std::int32_t> places, std::int64_t num_rows,
                              std::int64_t width, float factor, Ptr<float> x);

  /// sums(rows) RowSums of logits(rows, num_ids), which are those of the ids from first_id on. tokens: (rows).
  void (*block_sums)(Queue&, Ptr<const float> logits, std::int64_t num_rows, std::int64_t first_id,
                     std::int64_t num_ids, Ptr<const std::int32_t> tokens, Bytes sums);
};

}  // namespace moesaic::backend
