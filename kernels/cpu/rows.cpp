#include <algorithm>
#include <cstring>

#include "base/parallel.hpp"
#include "drivers.hpp"
#include "row_ops.hpp"

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
  parallel_for(num_rows, std::max<std::int64_t>(1, kPart_elems / std::max<std::int64_t>(1, width)), body);
}

/// y(rows) of a form. values(row): fp32 (width).
template <class Values>
void encode_each(const Codec& codec, const RowForm& form, std::int64_t num_rows, std::byte* y, const Values& values) {
  for_each_row(num_rows, form.width, [&](std::int64_t row) {
    CodedRow(codec, form, y + bytes_of(row, form.row_bytes())).encode(values(row));
  });
}

}  // namespace

void rms_norm(const Path& path, const float* x, const float* scale, std::int64_t num_rows, std::int64_t width,
              float eps, float* y) {
  for_each_row(num_rows, width,
               [&](std::int64_t row) { path.rms_norm(x + row * width, scale, width, eps, y + row * width); });
}

void to_activation(const Path& path, const float* x, std::int64_t x_stride, std::int64_t num_rows, std::int64_t width,
                   std::int64_t num_parts, std::byte* y) {
  encode_each(path.act, {path.act.type, width, num_parts}, num_rows, y,
              [&](std::int64_t row) { return x + row * x_stride; });
}

void to_input(const Path& path, const float* x, std::int64_t num_rows, std::int64_t width, std::int64_t num_leaves,
              std::byte* y) {
  encode_each(path.input, {path.input.type, width, num_leaves}, num_rows, y,
              [&](std::int64_t row) { return x + row * width; });
}

void encode_rows(const Path& path, const std::byte* x, std::int64_t num_rows, std::int64_t width, std::byte* y) {
  const RowForm form{path.input.type, width};
  encode_each(path.int8, {path.int8.type, width}, num_rows, y, [&](std::int64_t row) {
    float* values = row_scratch(width);
    CodedRow(path.input, form, x + bytes_of(row, form.row_bytes())).decode(1, values);
    return values;
  });
}

void scatter_activations(const Path& path, const std::byte* y, const std::int32_t* places, std::int64_t num_rows,
                         std::int64_t width, float factor, float* x) {
  const RowForm form{path.act.type, width};
  for_each_row(num_rows, width, [&](std::int64_t row) {
    CodedRow(path.act, form, y + bytes_of(row, form.row_bytes())).decode(factor, x + places[row] * width);
  });
}

void add(const Path&, const float* x, const float* y, std::int64_t n, float* sum) {
  for_each_part(n, [&](std::int64_t first, std::int64_t count) { add_row(x + first, y + first, count, sum + first); });
}

void scale(const Path&, float factor, std::int64_t n, float* x) {
  for_each_part(n, [&](std::int64_t first, std::int64_t count) {
    for (std::int64_t i = first; i < first + count; ++i) x[i] *= factor;
  });
}

void gather_rows(const Path&, const std::byte* from, const std::int32_t* index, std::int64_t num_rows,
                 std::size_t row_bytes, std::byte* to) {
  for_each_row(num_rows, static_cast<std::int64_t>(row_bytes / sizeof(float)), [&](std::int64_t i) {
    const auto row = static_cast<std::size_t>(index ? index[i] : i);
    std::memcpy(to + bytes_of(i, row_bytes), from + row * row_bytes, row_bytes);
  });
}

/// Part by part, so that what one addition has written is still near when the next one reads it.
void finish_tree(const Path&, const backend::SumTree& tree, float* parts, std::int64_t n, float* sum) {
  const std::span merges = std::span(tree.merges).first(static_cast<std::size_t>(tree.num_merges));
  for_each_part(n, [&](std::int64_t first, std::int64_t count) {
    if (merges.empty()) std::memcpy(sum + first, parts + first, bytes_of<float>(count));
    for (const auto& [into, from] : merges) {
      float* const to = &into == &merges.back().into ? sum + first : parts + into * n + first;
      add_row(parts + into * n + first, parts + from * n + first, count, to);
    }
  });
}

void rope(const Path& path, float* x, std::int64_t x_stride, std::int64_t num_heads, std::int64_t key_size,
          const backend::PageTable& pages, const float* cosines, const float* sines) {
  for_each_row(pages.num_rows, num_heads * key_size, [&](std::int64_t row) {
    const std::int64_t at = pages.rows.address()[row].position * (key_size / 2);
    for (std::int64_t head = 0; head < num_heads; ++head)
      path.rope(x + row * x_stride + head * key_size, key_size, cosines + at, sines + at);
  });
}

}  // namespace moesaic::cpu
