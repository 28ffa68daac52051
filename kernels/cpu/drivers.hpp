#pragma once

#include <cstdint>

#include "ops/kernels.hpp"
#include "path.hpp"

/// The kernels of ops::Kernels, for any path: loops over panels, rows, heads and threads.
namespace moesaic::cpu {

static_assert(kColumns == ops::kPanelColumns && kKeys == ops::kBlockKeys);
static_assert(kInt4GroupSteps == ops::MatrixShape::kInt4GroupPairs &&
              kInt4Scales_bytes == ops::MatrixShape::kInt4Scales_bytes &&
              kInt4Group_bytes == ops::MatrixShape::kInt4Group_bytes);

void gemm(const Path& path, const void* x, std::int64_t num_rows, const ops::PackedMatrix& w, float* y,
          std::int64_t y_stride);
void gated_gelu(const Path& path, const void* x, std::int64_t num_rows, const ops::PackedMatrix& gate,
                const ops::PackedMatrix& up, std::int64_t num_leaves, void* h);
void to_input(const Path& path, const float* x, std::int64_t num_rows, std::int64_t width, std::int64_t num_leaves,
              void* y);

void rms_norm(const Path& path, const float* x, const float* scale, std::int64_t num_rows, std::int64_t width,
              float eps, float* y);
void to_activation(const Path& path, const float* x, std::int64_t n, void* y);
void from_activation(const Path& path, const void* y, std::int64_t n, float factor, float* x);
void add_activation(const Path& path, const void* y, std::int64_t n, float factor, float* x);
void add(const Path& path, const float* x, const float* y, std::int64_t n, float* sum);
void scale(const Path& path, float factor, std::int64_t n, float* x);
void router_logits(const Path& path, const float* x, std::int64_t num_rows, std::int64_t width, const float* w,
                   std::int64_t num_experts, float* logits);
void rope(const Path& path, float* x, std::int64_t x_stride, std::int64_t num_rows, std::int64_t num_heads,
          std::int64_t key_size, const ops::RowContext* rows, const float* cosines, const float* sines);

void write_kv(const Path& path, const float* k, const float* v, std::int64_t stride, std::int64_t num_rows,
              const ops::AttentionShape& shape, const ops::RowContext* rows, std::int64_t page_offset);
void attention(const Path& path, const void* q, std::int64_t q_stride, std::int64_t num_rows,
               const ops::AttentionShape& shape, const ops::RowContext* rows, std::int64_t page_offset,
               std::int64_t num_leaves, void* out);

}  // namespace moesaic::cpu
