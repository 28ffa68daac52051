#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/parallel.hpp"
#include "drivers.hpp"

/// The table that is both embedding and head: its columns, and what a row's logits add up to.
namespace moesaic::cpu {
namespace {

/// One column of a matrix of one leaf of Elem: (D).
template <class Elem>
void unpack_column(const PackedMatrix& w, std::int64_t column, std::byte* out) {
  const auto* panels = reinterpret_cast<const Elem*>(w.data);
  for (std::int64_t input = 0; input < w.shape.leaf_size; ++input)
    std::memcpy(out + bytes_of<Elem>(input), panels + w.shape.element(0, input, column), sizeof(Elem));
}

/// What stands behind a row of int16 (RowForm).
void add_scale(const RowForm& form, float scale, std::byte* row) {
  const auto* q = reinterpret_cast<const std::int16_t*>(row);
  const LeafScale leaf{scale, std::accumulate(q, q + form.width, std::int32_t{0})};
  std::memset(row + static_cast<std::size_t>(form.width) * sizeof *q, 0,
              form.scales_offset_bytes() - static_cast<std::size_t>(form.width) * sizeof *q);
  std::memcpy(row + form.scales_offset_bytes(), &leaf, sizeof leaf);
}

}  // namespace

void gather_columns(const Path& path, const PackedMatrix& w, const std::int32_t* columns, std::int64_t num_columns,
                    std::byte* y) {
  const RowForm form{path.act.type, w.shape.leaf_size};
  parallel_for(num_columns, [&](std::int64_t i) {
    std::byte* out = y + bytes_of(i, form.row_bytes());
    if (w.shape.type == DType::kF32) return unpack_column<float>(w, columns[i], out);
    unpack_column<std::uint16_t>(w, columns[i], out);
    if (w.shape.type == DType::kInt16) add_scale(form, w.scales(0)[columns[i]], out);
  });
}

void block_sums(const Path&, const float* logits, std::int64_t num_rows, std::int64_t first_id, std::int64_t num_ids,
                const std::int32_t* tokens, std::byte* sums) {
  using backend::BlockSum;
  constexpr auto kBlock = static_cast<std::int64_t>(backend::kLogProbBlock);
  const auto form = backend::RowSums::of(num_ids);
  parallel_for(num_rows, [&](std::int64_t row) {
    const float* of_row = logits + row * num_ids;
    std::byte* to = sums + bytes_of(row, form.size_bytes());
    for (std::int64_t begin = 0; begin < num_ids; begin += kBlock, to += sizeof(BlockSum)) {
      const auto size = static_cast<std::size_t>(std::min(kBlock, num_ids - begin));
      const BlockSum sum = backend::block_sum({of_row + begin, size}, static_cast<std::int32_t>(first_id + begin));
      std::memcpy(to, &sum, sizeof sum);
    }
    const std::int64_t id = tokens[row] - first_id;
    const float logit = id >= 0 && id < num_ids ? of_row[id] : 0.0f;
    std::memcpy(to, &logit, sizeof logit);
  });
}

}  // namespace moesaic::cpu
