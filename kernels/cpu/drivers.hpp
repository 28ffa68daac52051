#pragma once

#include <cstdint>
#include <span>

#include "backend/kernels.hpp"
#include "base/bytes.hpp"
#include "packed_matrix.hpp"
#include "path.hpp"

/// The kernels of backend::Kernels, for any path, on memory that is at hand: loops over panels, rows, heads and
/// threads.
namespace moesaic::cpu {

static_assert(kColumns == kPanelColumns && kKeys == kBlockKeys);
static_assert(kInt4GroupSteps == PanelLayout::kInt4GroupPairs && kInt4Scales_bytes == PanelLayout::kInt4Scales_bytes &&
              kInt4Group_bytes == PanelLayout::kInt4Group_bytes);

void rms_norm(const Path& path, const float* x, const float* scale, std::int64_t num_rows, std::int64_t width,
              float eps, float* y);
void to_input(const Path& path, const float* x, std::int64_t num_rows, std::int64_t width, std::int64_t num_leaves,
              std::byte* y);
void to_activation(const Path& path, const float* x, std::int64_t x_stride, std::int64_t num_rows, std::int64_t width,
                   std::int64_t num_parts, std::byte* y);
void add(const Path& path, const float* x, const float* y, std::int64_t n, float* sum);
void scale(const Path& path, float factor, std::int64_t n, float* x);
void gather_rows(const Path& path, const std::byte* from, const std::int32_t* index, std::int64_t num_rows,
                 std::size_t row_bytes, std::byte* to);
void finish_tree(const Path& path, const backend::SumTree& tree, float* parts, std::int64_t n, float* sum);

void gemm(const Path& path, const std::byte* x, std::int64_t num_rows, const PackedMatrix& w, float* y,
          std::int64_t y_stride);
void grouped_gemm(const Path& path, const std::byte* x, const backend::Groups& groups,
                  std::span<const backend::Matrix> w, float* y);
void grouped_gated_gelu(const Path& path, const std::byte* x, const backend::Groups& groups,
                        std::span<const backend::Matrix> gate, std::span<const backend::Matrix> up,
                        std::int64_t num_leaves, std::byte* h);

void rope(const Path& path, float* x, std::int64_t x_stride, std::int64_t num_heads, std::int64_t key_size,
          const backend::PageTable& pages, const float* cosines, const float* sines);
void write_kv(const Path& path, const float* k, const float* v, std::int64_t stride,
              const backend::AttentionShape& shape, const backend::PageTable& pages, std::int64_t page_offset);
void attention(const Path& path, const std::byte* q, const backend::AttentionShape& shape,
               const backend::PageTable& pages, std::int64_t page_offset, std::int64_t num_leaves, std::byte* out);

void route(const Path& path, const float* x, std::int64_t num_rows, const backend::RouterShape& shape, const float* w,
           const backend::RoutedRows& routed);
void encode_rows(const Path& path, const std::byte* x, std::int64_t num_rows, std::int64_t width, std::byte* y);
void permute(const Path& path, const backend::ConstBytes* blocks, const plan::RowSource* sources,
             std::int64_t num_terms, const NumericSetting& setting, std::int64_t width, std::byte* rows);
void write_pieces(const Path& path, const plan::PieceJob* jobs, std::int64_t num_jobs, const backend::TreeList& trees,
                  const backend::ConstBytes* outputs, std::size_t term_bytes, std::int64_t width, std::byte* stream);
void combine_rows(const Path& path, const backend::PiecesOfRows& pieces, const backend::TreeList& trees, float* m);

void gather_columns(const Path& path, const PackedMatrix& w, const std::int32_t* columns, std::int64_t num_columns,
                    std::byte* y);
void scatter_activations(const Path& path, const std::byte* y, const std::int32_t* places, std::int64_t num_rows,
                         std::int64_t width, float factor, float* x);
void block_sums(const Path& path, const float* logits, std::int64_t num_rows, std::int64_t first_id,
                std::int64_t num_ids, const std::int32_t* tokens, std::byte* sums);

}  // namespace moesaic::cpu
