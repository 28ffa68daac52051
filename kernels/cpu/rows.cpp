#include <algorithm>
#include <cstring>

#include "drivers.hpp"

/// Operations on rows, shared out over the threads when there is enough of them.
namespace moesaic::cpu {
namespace {

constexpr std::int64_t kSmall_elems = 16384;  ///< below it, a parallel region costs more than it saves
constexpr std::int64_t kPart_elems = 4096;    ///< of a long vector

/// Calls body(first, count) for all parts of n elements.
template <class Body>
void for_each_part(std::int64_t n, const Body& body) {
#pragma omp parallel for if (n > kSmall_elems)
  for (std::int64_t first = 0; first < n; first += kPart_elems) body(first, std::min(kPart_elems, n - first));
}

}  // namespace

void rms_norm(const Path& path, const float* x, const float* scale, std::int64_t num_rows, std::int64_t width,
              float eps, float* y) {
#pragma omp parallel for if (num_rows * width > kSmall_elems)
  for (std::int64_t row = 0; row < num_rows; ++row) path.rms_norm(x + row * width, scale, width, eps, y + row * width);
}

void to_activation(const Path& path, const float* x, std::int64_t n, void* y) {
  for_each_part(n, [&](std::int64_t first, std::int64_t count) {
    path.to_activation(x + first, count, static_cast<std::byte*>(y) + static_cast<std::size_t>(first) * path.act_bytes);
  });
}

void to_input(const Path& path, const float* x, std::int64_t num_rows, std::int64_t width, std::int64_t num_leaves,
              void* y) {
  if (!path.quantise) return to_activation(path, x, num_rows * width, y);
  const GemmInput input{Numerics::kW8A8, width, num_leaves};
  const std::int64_t leaf_size = width / num_leaves;
#pragma omp parallel for collapse(2) if (num_rows * width > kSmall_elems)
  for (std::int64_t row = 0; row < num_rows; ++row)
    for (std::int64_t leaf = 0; leaf < num_leaves; ++leaf) {
      auto* to = static_cast<std::int8_t*>(y) + static_cast<std::size_t>(row) * input.row_bytes();
      auto* scales = reinterpret_cast<LeafScale*>(to + input.scales_offset_bytes());
      path.quantise(x + row * width + leaf * leaf_size, leaf_size, to + leaf * leaf_size, scales + leaf);
      if (leaf == 0) std::memset(to + width, 0, input.scales_offset_bytes() - static_cast<std::size_t>(width));
    }
}

void from_activation(const Path& path, const void* y, std::int64_t n, float factor, float* x) {
  for_each_part(n, [&](std::int64_t first, std::int64_t count) {
    path.from_activation(static_cast<const std::byte*>(y) + static_cast<std::size_t>(first) * path.act_bytes, count,
                         factor, x + first);
  });
}

void router_logits(const Path& path, const float* x, std::int64_t num_rows, std::int64_t width, const float* w,
                   std::int64_t num_experts, float* logits) {
#pragma omp parallel for if (num_rows * width > kSmall_elems)
  for (std::int64_t row = 0; row < num_rows; row += 4)
    path.router_logits(x + row * width, static_cast<int>(std::min<std::int64_t>(4, num_rows - row)), width, w,
                       num_experts, logits + row * num_experts);
}

void rope(const Path& path, float* x, std::int64_t x_stride, std::int64_t num_rows, std::int64_t num_heads,
          std::int64_t key_size, const ops::RowContext* rows, const float* cosines, const float* sines) {
#pragma omp parallel for if (num_rows * num_heads * key_size > kSmall_elems)
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const std::int64_t at = rows[row].position * (key_size / 2);
    for (std::int64_t head = 0; head < num_heads; ++head)
      path.rope(x + row * x_stride + head * key_size, key_size, cosines + at, sines + at);
  }
}

}  // namespace moesaic::cpu
