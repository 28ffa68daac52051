#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "base/parallel.hpp"
#include "base/units.hpp"
#include "drivers.hpp"

/// Attention, block by block: one pass over a kv head's pages serves the query heads that share it, for a
/// group of rows of one sequence. Threads share out groups and kv heads. A group's queries are ordered by
/// row, then head.
namespace moesaic::cpu {
namespace {

using backend::AttentionShape;
using backend::PageTable;
using backend::RowContext;

constexpr std::int64_t kGroupQueries = 96;  ///< a kv head's queries that share a pass over its pages

std::byte* keys_of(const AttentionShape& shape, const PageTable& pages, const RowContext& row, std::int64_t block,
                   std::int64_t page_offset, std::int64_t kv_head) {
  return pages.blocks.address()[row.first_block + block].address() + page_offset +
         kv_head * static_cast<std::int64_t>(shape.page.page_bytes());
}
/// The parts of a page that begins at `keys`.
Page page_at(const AttentionShape& shape, std::byte* keys) {
  std::byte* const values = keys + shape.page.values_offset_bytes();
  if (!shape.page.has_scales()) return {keys, values, nullptr, nullptr};
  auto* const scales = reinterpret_cast<float*>(keys + shape.page.scales_offset_bytes());
  return {keys, values, scales, scales + kKeys};
}

/// Consecutive rows of one sequence with ascending positions.
std::vector<Range>& group_rows(const RowContext* rows, std::int64_t num_rows, std::int64_t most_rows) {
  thread_local std::vector<Range> groups;
  groups.clear();
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const bool joins = !groups.empty() && groups.back().size() < most_rows &&
                       rows[row].first_block == rows[row - 1].first_block &&
                       rows[row].position > rows[row - 1].position;
    if (joins)
      ++groups.back().end;
    else
      groups.push_back({row, row + 1});
  }
  return groups;
}

/// A group of rows and one kv head.
class GroupAttention {
 public:
  GroupAttention(const Path& path, const AttentionShape& shape, const PageTable& pages, Range rows)
      : path_(path),
        tile_(*path.attention),
        shape_(shape),
        pages_(pages),
        rows_(pages.rows.address() + rows.begin),
        num_queries_(rows.size() * shape.q_per_kv),
        num_pairs_(shape.page.key_size / 2),
        value_stride_(shape.page.value_stride()),
        softmax_(shape.multiplier, shape.cap),
        last_block_(rows_[rows.size() - 1].position / kKeys) {
    const auto queries = static_cast<std::size_t>(num_queries_), tile = static_cast<std::size_t>(tile_.tile_queries);
    const std::size_t q_bytes = aligned(queries * bytes_of(num_pairs_, tile_.pair_bytes)),
                      out_bytes = queries * bytes_of<float>(value_stride_),
                      floats_bytes = aligned(queries * sizeof(float)), scores_bytes = tile * kKeys * sizeof(float),
                      p_bytes = tile * kKeys / 2 * tile_.pair_bytes;
    thread_local AlignedBuffer buffer;
    buffer.reserve(q_bytes + out_bytes + 2 * floats_bytes + scores_bytes + p_bytes);
    std::byte* at = buffer.data();
    const auto take = [&at](std::size_t size_bytes) { return std::exchange(at, at + size_bytes); };
    q_ = take(q_bytes);
    out_ = reinterpret_cast<float*>(take(out_bytes));
    sums_ = reinterpret_cast<float*>(take(floats_bytes));
    q_scales_ = reinterpret_cast<float*>(take(floats_bytes));
    scores_ = reinterpret_cast<float*>(take(scores_bytes));
    p_ = take(p_bytes);
    std::memset(out_, 0, out_bytes);
    std::memset(sums_, 0, floats_bytes);
  }

  void run(const std::byte* q, std::int64_t kv_head, std::int64_t page_offset, std::byte* out) {
    for (std::int64_t query = 0; query < num_queries_; ++query) take_query(q, query, kv_head);
    for (std::int64_t block = 0; block <= last_block_; ++block)
      add_block(block, keys_of(shape_, pages_, rows_[0], block, page_offset, kv_head),
                block < last_block_ ? keys_of(shape_, pages_, rows_[0], block + 1, page_offset, kv_head) : nullptr);
    for (std::int64_t query = 0; query < num_queries_; ++query)
      path_.finish_head(out_ + query * value_stride_, sums_[query], shape_.page.key_size,
                        out + head_index(query, kv_head) * path_.result_bytes);
  }

 private:
  /// Where a query's head begins in rows of all q heads, in elements.
  std::size_t head_index(std::int64_t query, std::int64_t kv_head) const {
    const std::int64_t row = query / shape_.q_per_kv, head = kv_head * shape_.q_per_kv + query % shape_.q_per_kv;
    return static_cast<std::size_t>((row * shape_.num_q_heads() + head) * shape_.page.key_size);
  }
  void take_query(const std::byte* q, std::int64_t query, std::int64_t kv_head) const {
    const RowForm form{path_.act.type, shape_.num_q_heads() * shape_.page.key_size, shape_.num_q_heads()};
    const std::int64_t head = kv_head * shape_.q_per_kv + query % shape_.q_per_kv;
    const std::byte* row = q + static_cast<std::size_t>(query / shape_.q_per_kv) * form.row_bytes();
    tile_.make_pairs(row + static_cast<std::size_t>(head * shape_.page.key_size) * size_bytes(form.type),
                     shape_.page.key_size, query_pairs(query), 1);
    if (!form.quantised()) return;
    LeafScale leaf;
    std::memcpy(&leaf, row + form.scales_offset_bytes() + static_cast<std::size_t>(head) * sizeof leaf, sizeof leaf);
    q_scales_[query] = leaf.scale;
  }
  std::byte* query_pairs(std::int64_t query) const {
    return q_ + static_cast<std::size_t>(query * num_pairs_) * tile_.pair_bytes;
  }

  /// Brings part t of a page into the second-level cache; pages lie apart, so that the processor cannot foresee them.
  void prefetch(const std::byte* page, std::int64_t parts, std::int64_t t) const {
    constexpr std::int64_t kLine_bytes = 64;
    const Range lines = even_part(static_cast<std::int64_t>(shape_.page.page_bytes()) / kLine_bytes, parts, t);
    for (std::int64_t line = lines.begin; line < lines.end; ++line) __builtin_prefetch(page + line * kLine_bytes, 0, 2);
  }

  /// The queries that see any key of a block are the last ones; they get the block's sums of p and p . v.
  void add_block(std::int64_t block, std::byte* keys, const std::byte* next) {
    std::int64_t first_row = 0;
    while (rows_[first_row].position < block * kKeys) ++first_row;
    const std::int64_t first = first_row * shape_.q_per_kv, queries = num_queries_ - first;
    const std::int64_t tiles = (queries + tile_.tile_queries - 1) / tile_.tile_queries;
    const Page page = page_at(shape_, keys);
    for (std::int64_t t = 0; t < tiles; ++t) {
      const Range tile = even_part(queries, tiles, t);
      const std::int64_t begin = first + tile.begin;
      const int size = static_cast<int>(tile.size());
      if (next) prefetch(next, tiles, t);
      tile_.scores(size, query_pairs(begin), q_scales_ + begin, page, num_pairs_, scores_);
      float p_scales[kMaxTileRows];
      for (int i = 0; i < size; ++i) {
        const std::int64_t last = rows_[(begin + i) / shape_.q_per_kv].position - block * kKeys;
        const int visible = static_cast<int>(std::min<std::int64_t>(kKeys, last + 1));
        sums_[begin + i] += tile_.weights_of_keys(scores_ + i * kKeys, visible, softmax_, page,
                                                  p_ + bytes_of(i * kKeys / 2, tile_.pair_bytes), p_scales + i);
      }
      tile_.values(size, p_, p_scales, page, value_stride_, out_ + begin * value_stride_);
    }
  }

  const Path& path_;
  const Attention& tile_;
  const AttentionShape& shape_;
  const PageTable& pages_;
  const RowContext* rows_;
  std::int64_t num_queries_, num_pairs_, value_stride_;
  math::CappedSoftmax softmax_;
  std::int64_t last_block_;
  std::byte *q_, *p_;
  float *out_, *sums_, *q_scales_, *scores_;
};

/// out(rows, q heads, K): elements of path.result_bytes.
void attention_results(const Path& path, const std::byte* q, const AttentionShape& shape, const PageTable& pages,
                       std::int64_t page_offset, std::byte* out) {
  const std::vector<Range>& groups =
      group_rows(pages.rows.address(), pages.num_rows, std::max<std::int64_t>(1, kGroupQueries / shape.q_per_kv));
  const auto num_groups = static_cast<std::int64_t>(groups.size()), items = num_groups * shape.num_kv_heads;
  const std::int64_t width = shape.num_q_heads() * shape.page.key_size;
  const RowForm q_form{path.act.type, width, shape.num_q_heads()};
  // Backwards: a sequence's later rows see more keys, and the largest items should come first.
  parallel_for(items, [&](std::int64_t backwards) {
    const std::int64_t item = items - 1 - backwards;
    const Range& group = groups[static_cast<std::size_t>(item / shape.num_kv_heads)];
    GroupAttention(path, shape, pages, group)
        .run(q + static_cast<std::size_t>(group.begin) * q_form.row_bytes(), item % shape.num_kv_heads, page_offset,
             out + static_cast<std::size_t>(group.begin * width) * path.result_bytes);
  });
}

}  // namespace

void write_kv(const Path& path, const float* k, const float* v, std::int64_t stride, const AttentionShape& shape,
              const PageTable& pages, std::int64_t page_offset) {
  constexpr std::int64_t kHeads = 64;  // that a thread writes at least
  parallel_for(pages.num_rows, (kHeads + shape.num_kv_heads - 1) / shape.num_kv_heads, [&](std::int64_t i) {
    const RowContext& row = pages.rows.address()[i];
    for (std::int64_t head = 0; head < shape.num_kv_heads; ++head) {
      const std::int64_t at = i * stride + head * shape.page.key_size;
      std::byte* keys = keys_of(shape, pages, row, row.position / kKeys, page_offset, head);
      path.attention->write_kv(k + at, v + at, shape.page.key_size, shape.page.value_stride(), row.position % kKeys,
                               page_at(shape, keys));
    }
  });
}

void attention(const Path& path, const std::byte* q, const AttentionShape& shape, const PageTable& pages,
               std::int64_t page_offset, std::int64_t num_leaves, std::byte* out) {
  if (!RowForm{path.input.type}.quantised()) return attention_results(path, q, shape, pages, page_offset, out);
  // A leaf may have parts of several heads.
  const std::int64_t width = shape.num_q_heads() * shape.page.key_size;
  thread_local AlignedBuffer unrounded;
  unrounded.reserve(bytes_of<float>(pages.num_rows * width));
  attention_results(path, q, shape, pages, page_offset, unrounded.data());
  to_input(path, unrounded.as<float>(), pages.num_rows, width, num_leaves, out);
}

}  // namespace moesaic::cpu
