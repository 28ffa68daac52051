#include <algorithm>
#include <cstring>

#include "base/parallel.hpp"
#include "drivers.hpp"

/// Operations on rows, shared out over the threads when there is enough of them.
namespace moesaic::cpu {
namespace {

constexpr std::int64_t kPart_elems = 8192;  ///< that a thread takes at a time at least: less is not worth waking one

/// Calls body(first, count) for all parts of n elements.
template <class Body>
void for_each_part(std::int64_t n, const Body& body) {
  parallel_for((n + kPart_elems - 1) / kPart_elems, [&](std::int64_t part) {
    const std::int64_t first = part * kPart_elems;
    body(first, std::min(kPart_elems, n - first));
  });
}

/// Calls body(row) for all rows of `width` elements.
template <class Body>
void for_each_row(std::int64_t num_rows, std::int64_t width, const Body& body) {
  parallel_for(num_rows, std::max<std::int64_t>(1, kPart_elems / width), body);
}

}  // namespace

void rms_norm(const Path& path, const float* x, const float* scale, std::int64_t num_rows, std::int64_t width,
              float eps, float* y) {
  for_each_row(num_rows, width,
               [&](std::int64_t row) { path.rms_norm(x + row * width, scale, width, eps, y + row * width); });
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
  for_each_row(num_rows, width, [&](std::int64_t row) {
    auto* to = static_cast<std::int8_t*>(y) + static_cast<std::size_t>(row) * input.row_bytes();
    auto* scales = reinterpret_cast<LeafScale*>(to + input.scales_offset_bytes());
    for (std::int64_t leaf = 0; leaf < num_leaves; ++leaf)
      path.quantise(x + row * width + leaf * leaf_size, leaf_size, to + leaf * leaf_size, scales + leaf);
    std::memset(to + width, 0, input.scales_offset_bytes() - static_cast<std::size_t>(width));
  });
}

void from_activation(const Path& path, const void* y, std::int64_t n, float factor, float* x) {
  for_each_part(n, [&](std::int64_t first, std::int64_t count) {
    path.from_activation(static_cast<const std::byte*>(y) + static_cast<std::size_t>(first) * path.act_bytes, count,
                         factor, x + first);
  });
}

void add_activation(const Path& path, const void* y, std::int64_t n, float factor, float* x) {
  for_each_part(n, [&](std::int64_t first, std::int64_t count) {
    path.add_activation(static_cast<const std::byte*>(y) + static_cast<std::size_t>(first) * path.act_bytes, count,
                        factor, x + first);
  });
}

void add(const Path&, const float* x, const float* y, std::int64_t n, float* sum) {
  for_each_part(n, [&](std::int64_t first, std::int64_t count) {
    for (std::int64_t i = first; i < first + count; ++i) sum[i] = x[i] + y[i];
  });
}

void scale(const Path&, float factor, std::int64_t n, float* x) {
  for_each_part(n, [&](std::int64_t first, std::int64_t count) {
    for (std::int64_t i = first; i < first + count; ++i) x[i] *= factor;
  });
}

void router_logits(const Path& path, const float* x, std::int64_t num_rows, std::int64_t width, const float* w,
                   std::int64_t num_experts, float* logits) {
  constexpr std::int64_t kRows = 4;  // that router_logits() takes
  for_each_row((num_rows + kRows - 1) / kRows, kRows * width, [&](std::int64_t four) {
    const std::int64_t row = four * kRows;
    path.router_logits(x + row * width, static_cast<int>(std::min(kRows, num_rows - row)), width, w, num_experts,
                       logits + row * num_experts);
  });
}

void rope(const Path& path, float* x, std::int64_t x_stride, std::int64_t num_rows, std::int64_t num_heads,
          std::int64_t key_size, const ops::RowContext* rows, const float* cosines, const float* sines) {
  for_each_row(num_rows, num_heads * key_size, [&](std::int64_t row) {
    const std::int64_t at = rows[row].position * (key_size / 2);
    for (std::int64_t head = 0; head < num_heads; ++head)
      path.rope(x + row * x_stride + head * key_size, key_size, cosines + at, sines + at);
  });
}

}  // namespace moesaic::cpu
