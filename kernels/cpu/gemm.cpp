#include <omp.h>

#include <algorithm>
#include <cstring>

#include "base/aligned_buffer.hpp"
#include "base/range.hpp"
#include "drivers.hpp"

/// Matrix products. Threads share out panels (32 columns), and blocks of rows when panels alone are too few.
/// For many rows a chunk of a panel is expanded once into the first-level cache and used by one row tile
/// after the other; for few rows it is expanded in registers on its way from memory.
namespace moesaic::cpu {
namespace {

using ops::MatrixShape;
using ops::PackedMatrix;

constexpr std::int64_t kChunkPairs = 128;         ///< 16 KiB of expanded bf16 lines
constexpr std::int64_t kBlockTiles = 16;          ///< most row tiles of a block
constexpr std::int64_t kSmallPack_pairs = 16384;  ///< below it, packing rows is not worth a parallel region
constexpr std::int64_t kRunPanels = 8;            ///< most panels that a thread takes at a time
constexpr int kMaxLevels = 4;  ///< sums waiting in a tree of 8 leaves, and one in the making

/// Scratch that each thread keeps from call to call.
std::byte* scratch(std::size_t size_bytes) {
  thread_local AlignedBuffer buffer;
  buffer.reserve(size_bytes);
  return buffer.data();
}

/// The rows of a call as the tiles read them: tile after tile, in it pair after pair, its rows side by side.
class PackedRows {
 public:
  PackedRows(const Path& path, const void* x, std::int64_t x_stride, std::int64_t num_rows,
             const MatrixShape& shape)
      : path_(path),
        shape_(shape),
        num_rows_(num_rows),
        num_pairs_(shape.num_leaves * shape.pairs_per_leaf()),
        num_tiles_((num_rows + path.tile_rows - 1) / path.tile_rows) {
    thread_local AlignedBuffer buffer;
    buffer.reserve(static_cast<std::size_t>(num_rows * num_pairs_) * path.pair_bytes);
    data_ = buffer.data();
    const auto* from = static_cast<const std::byte*>(x);
#pragma omp parallel for collapse(2) if (num_rows * num_pairs_ > kSmallPack_pairs)
    for (std::int64_t tile = 0; tile < num_tiles_; ++tile)
      for (std::int64_t leaf = 0; leaf < shape.num_leaves; ++leaf)
        for (std::int64_t row = rows(tile).begin; row < rows(tile).end; ++row)
          path_.make_pairs(
              from + static_cast<std::size_t>(row * x_stride + leaf * shape_.leaf_size) * path_.act_bytes,
              shape_.leaf_size,
              at(tile, leaf, 0) + static_cast<std::size_t>(row - rows(tile).begin) * path_.pair_bytes,
              rows(tile).size());
  }

  std::int64_t num_rows() const { return num_rows_; }
  std::int64_t num_tiles() const { return num_tiles_; }
  Range rows(std::int64_t tile) const { return even_part(num_rows_, num_tiles_, tile); }
  std::byte* at(std::int64_t tile, std::int64_t leaf, std::int64_t pair) const {
    const Range r = rows(tile);
    const std::int64_t pairs_before =
        r.begin * num_pairs_ + (leaf * shape_.pairs_per_leaf() + pair) * r.size();
    return data_ + static_cast<std::size_t>(pairs_before) * path_.pair_bytes;
  }

 private:
  const Path& path_;
  const MatrixShape& shape_;
  std::int64_t num_rows_, num_pairs_, num_tiles_;
  std::byte* data_;
};

/// One panel times the rows of some tiles.
class PanelProduct {
 public:
  static std::size_t scratch_bytes(const Path& path, std::int64_t rows) {
    return kChunkPairs * path.line_bytes +
           kMaxLevels * static_cast<std::size_t>(rows * kColumns) * sizeof(float);
  }

  PanelProduct(const Path& path, const PackedRows& x, Range tiles, std::byte* scratch)
      : path_(path),
        x_(x),
        tiles_(tiles),
        first_row_(x.rows(tiles.begin).begin),
        rows_(x.rows(tiles.end - 1).end - first_row_),
        lines_(scratch) {
    auto* sums = reinterpret_cast<float*>(scratch + kChunkPairs * path.line_bytes);
    for (int level = 0; level < kMaxLevels; ++level) levels_[level] = sums + level * num_sums();
  }

  std::int64_t first_row() const { return first_row_; }
  std::int64_t num_rows() const { return rows_; }
  std::int64_t num_sums() const { return rows_ * kColumns; }

  /// sums(rows, 32) of a panel, its leaves combined. As a binary counter counts: levels_[i] holds a complete
  /// subtree of 2^i leaves where bit i of the number of leaves done is set, the last level the leaf in the
  /// making.
  const float* operator()(const PackedMatrix& w, std::int64_t panel) {
    int level = 0;
    for (std::int64_t leaf = 0; leaf < w.shape.num_leaves; ++leaf) {
      float* acc = levels_[kMaxLevels - 1];
      std::memset(acc, 0, static_cast<std::size_t>(num_sums()) * sizeof(float));
      add_leaf(w, panel, leaf, acc);
      if (w.shape.type == DType::kInt8)
        path_.scale_leaf(w.scales(leaf) + panel * kColumns, static_cast<int>(rows_), acc);
      for (level = 0; (leaf >> level & 1) != 0; ++level) path_.add_left(levels_[level], num_sums(), acc);
      std::swap(levels_[level], levels_[kMaxLevels - 1]);
    }
    return levels_[level];
  }

 private:
  void add_leaf(const PackedMatrix& w, std::int64_t panel, std::int64_t leaf, float* acc) {
    const bool int8 = w.shape.type == DType::kInt8;
    const std::int64_t pairs = w.shape.pairs_per_leaf();
    const std::size_t packed_bytes = 2 * kColumns * size_bytes(w.shape.type);
    const std::byte* packed =
        w.data + static_cast<std::size_t>((panel * w.shape.num_leaves + leaf) * pairs) * packed_bytes;

    if (rows_ <= path_.direct_rows) {
      const auto direct = int8 ? path_.direct_int8 : path_.direct_act;
      return direct(static_cast<int>(rows_), x_.at(tiles_.begin, leaf, 0), packed, pairs, acc);
    }
    const auto expand = int8 ? path_.expand_int8 : path_.expand_act;
    for (std::int64_t first = 0; first < pairs; first += kChunkPairs, packed += kChunkPairs * packed_bytes) {
      const std::int64_t chunk = std::min(kChunkPairs, pairs - first);
      expand(packed, chunk, lines_);
      for (std::int64_t tile = tiles_.begin; tile < tiles_.end; ++tile) {
        const Range rows = x_.rows(tile);
        path_.tile(static_cast<int>(rows.size()), x_.at(tile, leaf, first), lines_, chunk,
                   acc + (rows.begin - first_row_) * kColumns,
                   tile == tiles_.begin ? packed + kChunkPairs * packed_bytes : nullptr);  // the next chunk
      }
    }
  }

  const Path& path_;
  const PackedRows& x_;
  Range tiles_;
  std::int64_t first_row_, rows_;
  std::byte* lines_;
  float* levels_[kMaxLevels];
};

/// Calls body(product, panels) for runs of panels and blocks of rows that cover the product, in parallel.
template <class Body>
void for_each_run(const Path& path, const PackedRows& x, const MatrixShape& shape, const Body& body) {
  const std::int64_t threads = omp_get_max_threads(), panels = shape.num_panels(), tiles = x.num_tiles();
  // As few blocks of rows as keep every thread busy: each one expands the weights again.
  std::int64_t blocks = (tiles + kBlockTiles - 1) / kBlockTiles;
  blocks = std::clamp((4 * threads + panels - 1) / panels, blocks, std::max(blocks, tiles / 2));
  // Few rows stream memory: long runs are few restarts of the processor's prefetching.
  const std::int64_t run =
      x.num_rows() <= path.direct_rows ? std::clamp<std::int64_t>(panels / (4 * threads), 1, kRunPanels) : 1;
  const std::int64_t runs = (panels + run - 1) / run;
  const std::size_t needed =
      PanelProduct::scratch_bytes(path, ((tiles + blocks - 1) / blocks) * path.tile_rows);
#pragma omp parallel for schedule(dynamic, 1) if (threads > 1)
  for (std::int64_t item = 0; item < runs * blocks; ++item) {
    const std::int64_t first = item / blocks * run;
    PanelProduct product(path, x, even_part(tiles, blocks, item % blocks), scratch(needed));
    body(product, Range{first, std::min(first + run, panels)});
  }
}

/// Columns of a panel that exist.
std::size_t columns(const MatrixShape& shape, std::int64_t panel) {
  return static_cast<std::size_t>(std::min<std::int64_t>(kColumns, shape.num_columns - panel * kColumns));
}

}  // namespace

void gemm(const Path& path, const void* x, std::int64_t x_stride, std::int64_t num_rows,
          const PackedMatrix& w, float* y, std::int64_t y_stride) {
  if (num_rows == 0) return;
  const PackedRows rows(path, x, x_stride, num_rows, w.shape);
  for_each_run(path, rows, w.shape, [&](PanelProduct& product, Range panels) {
    for (std::int64_t panel = panels.begin; panel < panels.end; ++panel) {
      const float* sums = product(w, panel);
      float* to = y + product.first_row() * y_stride + panel * kColumns;
      for (std::int64_t row = 0; row < product.num_rows(); ++row)
        std::memcpy(to + row * y_stride, sums + row * kColumns, columns(w.shape, panel) * sizeof(float));
    }
  });
}

void gated_gelu(const Path& path, const void* x, std::int64_t x_stride, std::int64_t num_rows,
                const PackedMatrix& gate, const PackedMatrix& up, void* h, std::int64_t h_stride) {
  if (num_rows == 0) return;
  const PackedRows rows(path, x, x_stride, num_rows, gate.shape);
  for_each_run(path, rows, gate.shape, [&](PanelProduct& product, Range panels) {
    thread_local AlignedBuffer buffer;
    const auto n = static_cast<std::size_t>(product.num_sums()),
               gates_elems = n * static_cast<std::size_t>(panels.size());
    buffer.reserve(gates_elems * sizeof(float) + n * path.act_bytes);
    auto* gates = buffer.as<float>();
    std::byte* rounded = buffer.data() + gates_elems * sizeof(float);
    for (std::int64_t panel = panels.begin; panel < panels.end; ++panel)
      std::memcpy(gates + (panel - panels.begin) * product.num_sums(), product(gate, panel),
                  n * sizeof(float));

    for (std::int64_t panel = panels.begin; panel < panels.end; ++panel) {
      path.gated_gelu(gates + (panel - panels.begin) * product.num_sums(), product(up, panel),
                      product.num_sums(), rounded);
      auto* to = static_cast<std::byte*>(h) +
                 static_cast<std::size_t>(product.first_row() * h_stride + panel * kColumns) * path.act_bytes;
      for (std::int64_t row = 0; row < product.num_rows(); ++row)
        std::memcpy(to + static_cast<std::size_t>(row * h_stride) * path.act_bytes,
                    rounded + static_cast<std::size_t>(row * kColumns) * path.act_bytes,
                    columns(gate.shape, panel) * path.act_bytes);
    }
  });
}

}  // namespace moesaic::cpu
