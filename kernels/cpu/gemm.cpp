#include <algorithm>
#include <cstring>

#include "base/aligned_buffer.hpp"
#include "base/error.hpp"
#include "base/parallel.hpp"
#include "drivers.hpp"

/// Matrix products. Threads share out panels (32 columns), and blocks of rows when panels alone are too few.
/// For many rows a chunk of a panel is expanded once into the first-level cache and used by one row tile
/// after the other; for few rows it is expanded in registers on its way from memory.
namespace moesaic::cpu {
namespace {

constexpr std::size_t kChunk_bytes = 16384;       ///< of expanded lines; int4: and scales beside them
constexpr std::int64_t kBlockTiles = 16;          ///< most row tiles of a block
constexpr std::int64_t kSmallPack_steps = 16384;  ///< below it, packing rows is not worth a parallel region
constexpr std::int64_t kRunPanels = 64;           ///< most panels that a thread takes at a time
constexpr int kMaxLevels = 4;                     ///< sums waiting in a tree of 8 leaves, and one in the making

/// Scratch that each thread keeps from call to call.
std::byte* scratch(std::size_t size_bytes) {
  thread_local AlignedBuffer buffer;
  buffer.reserve(size_bytes);
  return buffer.data();
}

const Product& product_with(const Path& path, const PanelLayout& shape) {
  const Product* product = path.products[static_cast<std::size_t>(shape.type)];
  MOESAIC_CHECK(product, "matrices of {} are not of this numeric mode", name(shape.type));
  return *product;
}

/// The form of the rows that a matrix is multiplied with.
RowForm input_of(const Product& product, const PanelLayout& shape) {
  return {product.inputs, shape.num_leaves * shape.leaf_size, shape.num_leaves};
}

/// The rows of a call as the tiles read them: tile after tile, in it step after step, its rows side by side.
class PackedRows {
 public:
  PackedRows(const Path& path, const std::byte* x, std::int64_t num_rows, const PanelLayout& shape)
      : product_(product_with(path, shape)),
        input_(input_of(product_, shape)),
        x_(x),
        num_rows_(num_rows),
        steps_per_leaf_((shape.leaf_size + product_.step_inputs - 1) / product_.step_inputs),
        num_steps_(shape.num_leaves * steps_per_leaf_),
        num_tiles_((num_rows + product_.tile_rows - 1) / product_.tile_rows) {
    thread_local AlignedBuffer buffer;
    buffer.reserve(bytes_of(num_rows * num_steps_, product_.step_bytes));
    data_ = buffer.data();
    const std::size_t leaf_bytes = bytes_of(shape.leaf_size, size_bytes(product_.inputs));
    const auto items = num_tiles_ * shape.num_leaves;
    parallel_for(items, num_rows * num_steps_ > kSmallPack_steps ? 1 : items, [&](std::int64_t item) {
      const std::int64_t tile = item / shape.num_leaves, leaf = item % shape.num_leaves;
      for (std::int64_t row = rows(tile).begin; row < rows(tile).end; ++row)
        product_.make_steps(x_ + bytes_of(row, input_.row_bytes()) + bytes_of(leaf, leaf_bytes), shape.leaf_size,
                            at(tile, leaf, 0) + bytes_of(row - rows(tile).begin, product_.step_bytes),
                            rows(tile).size());
    });
  }

  const Product& product() const { return product_; }
  std::int64_t steps_per_leaf() const { return steps_per_leaf_; }

  std::int64_t num_rows() const { return num_rows_; }
  std::int64_t num_tiles() const { return num_tiles_; }
  Range rows(std::int64_t tile) const { return even_part(num_rows_, num_tiles_, tile); }
  std::byte* at(std::int64_t tile, std::int64_t leaf, std::int64_t step) const {
    const Range r = rows(tile);
    const std::int64_t steps_before = r.begin * num_steps_ + (leaf * steps_per_leaf_ + step) * r.size();
    return data_ + bytes_of(steps_before, product_.step_bytes);
  }

  /// From row to row row_bytes() apart; only quantised rows have them.
  const LeafScale* leaf_scales(std::int64_t first_row, std::int64_t leaf) const {
    if (!input_.quantised()) return nullptr;
    return reinterpret_cast<const LeafScale*>(x_ + bytes_of(first_row, row_bytes()) + input_.scales_offset_bytes()) +
           leaf;
  }
  std::size_t row_bytes() const { return input_.row_bytes(); }

 private:
  const Product& product_;
  RowForm input_;
  const std::byte* x_;
  std::int64_t num_rows_, steps_per_leaf_, num_steps_, num_tiles_;
  std::byte* data_;
};

/// One panel times the rows of some tiles.
class PanelProduct {
 public:
  static std::size_t scratch_bytes(const Product& product, std::int64_t rows) {
    const auto sums = static_cast<std::size_t>(rows * kColumns);
    return lines_bytes(product) + sums * (kMaxLevels * sizeof(float) + product.acc_bytes);
  }

  PanelProduct(const Path& path, const PackedRows& x, Range tiles, std::byte* scratch)
      : path_(path),
        product_(x.product()),
        x_(x),
        tiles_(tiles),
        first_row_(x.rows(tiles.begin).begin),
        rows_(x.rows(tiles.end - 1).end - first_row_),
        lines_(scratch) {
    auto* sums = reinterpret_cast<float*>(scratch + lines_bytes(product_));
    for (int level = 0; level < kMaxLevels; ++level) levels_[level] = sums + level * num_sums();
    acc_ = reinterpret_cast<std::byte*>(sums + kMaxLevels * num_sums());
  }

  std::int64_t first_row() const { return first_row_; }
  std::int64_t num_rows() const { return rows_; }
  std::int64_t num_sums() const { return rows_ * kColumns; }

  /// sums(rows, 32) of a panel, its leaves combined. As a binary counter counts: levels_[i] holds a complete
  /// subtree of 2^i leaves where bit i of the number of leaves done is set, the last level the leaf in the
  /// making, which is made there if its sums have the size of floats.
  const float* operator()(const PackedMatrix& w, std::int64_t panel) {
    int level = 0;
    for (std::int64_t leaf = 0; leaf < w.shape.num_leaves; ++leaf) {
      float* made = levels_[kMaxLevels - 1];
      std::byte* acc = product_.acc_bytes == sizeof(float) ? reinterpret_cast<std::byte*>(made) : acc_;
      if (w.shape.has_scales()) prefetch_scales(w.scales(leaf) + panel * kColumns);
      std::memset(acc, 0, bytes_of(num_sums(), product_.acc_bytes));
      add_leaf(w, panel, leaf, acc);
      if (product_.scale_leaf)
        product_.scale_leaf(w.scales(leaf) + panel * kColumns, x_.leaf_scales(first_row_, leaf), x_.row_bytes(),
                            static_cast<int>(rows_), acc, made);
      for (level = 0; (leaf >> level & 1) != 0; ++level) path_.add_left(levels_[level], num_sums(), made);
      std::swap(levels_[level], levels_[kMaxLevels - 1]);
    }
    return levels_[level];
  }

 private:
  /// Scales lie apart from the lines, so that nothing else would bring them before they are needed.
  static void prefetch_scales(const float* scales) {
    constexpr int kLine_floats = 16;
    for (int c = 0; c < kColumns; c += kLine_floats) __builtin_prefetch(scales + c);
  }

  /// Steps that are expanded at a time: whole groups.
  static std::int64_t chunk_steps(const Product& product) {
    return static_cast<std::int64_t>(kChunk_bytes / product.line_bytes);
  }
  /// Of the expanded lines of a chunk.
  static std::size_t lines_bytes(const Product& product) {
    const std::int64_t steps = chunk_steps(product),
                       groups = product.group_steps == 0 ? 0 : steps / product.group_steps;
    return static_cast<std::size_t>(steps + groups) * product.line_bytes;
  }

  void add_leaf(const PackedMatrix& w, std::int64_t panel, std::int64_t leaf, std::byte* acc) {
    const std::int64_t steps = x_.steps_per_leaf();
    const auto packed_from = [&](std::int64_t step) {
      return w.data + w.shape.offset_bytes(panel, leaf, step * product_.step_inputs);
    };
    const Product& product = w.has_lowest() && product_.with_lowest ? *product_.with_lowest : product_;
    if (rows_ <= product.direct_rows)
      return product.direct(static_cast<int>(rows_), x_.at(tiles_.begin, leaf, 0), packed_from(0), steps,
                            reinterpret_cast<float*>(acc));
    const std::int64_t most = chunk_steps(product);
    for (std::int64_t first = 0; first < steps; first += most) {
      const std::int64_t chunk = std::min(most, steps - first);
      product.expand(packed_from(first), chunk, lines_);
      for (std::int64_t tile = tiles_.begin; tile < tiles_.end; ++tile) {
        const Range rows = x_.rows(tile);
        product_.tile(static_cast<int>(rows.size()), x_.at(tile, leaf, first), lines_, chunk,
                      reinterpret_cast<float*>(acc + static_cast<std::size_t>((rows.begin - first_row_) * kColumns) *
                                                         product_.acc_bytes),
                      tile == tiles_.begin ? packed_from(first + most) : nullptr);  // the next chunk
      }
    }
  }

  const Path& path_;
  const Product& product_;
  const PackedRows& x_;
  Range tiles_;
  std::int64_t first_row_, rows_;
  std::byte *lines_, *acc_;
  float* levels_[kMaxLevels];
};

/// Calls body(product, panels) for runs of panels and blocks of rows that cover the product, by all threads.
template <class Body>
void for_each_run(const Path& path, const PackedRows& x, const PanelLayout& shape, const Body& body) {
  const std::int64_t threads = num_threads(), panels = shape.num_panels(), tiles = x.num_tiles();
  // As few blocks of rows as keep every thread busy: each one expands the weights again.
  std::int64_t blocks = (tiles + kBlockTiles - 1) / kBlockTiles;
  blocks = std::clamp((4 * threads + panels - 1) / panels, blocks, std::max(blocks, tiles / 2));
  // Few rows stream memory: long runs are few restarts of the processor's prefetching.
  const std::int64_t most_panels = blocks == 1 && x.num_rows() <= x.product().direct_rows ? kRunPanels : 1;
  const std::size_t needed =
      PanelProduct::scratch_bytes(x.product(), ((tiles + blocks - 1) / blocks) * x.product().tile_rows);
  parallel_ranges(panels * blocks, most_panels, [&](Range items) {
    PanelProduct product(path, x, even_part(tiles, blocks, items.begin % blocks), scratch(needed));
    const std::int64_t first = items.begin / blocks;
    body(product, Range{first, first + items.size()});
  });
}

/// Columns of a panel that exist.
std::size_t columns(const PanelLayout& shape, std::int64_t panel) {
  return static_cast<std::size_t>(std::min<std::int64_t>(kColumns, shape.num_columns - panel * kColumns));
}

/// h(rows, columns): elements of path.result_bytes.
void gated_gelu_results(const Path& path, const std::byte* x, std::int64_t num_rows, const PackedMatrix& gate,
                        const PackedMatrix& up, std::byte* h) {
  const PackedRows rows(path, x, num_rows, gate.shape);
  const std::size_t h_row_bytes = bytes_of(gate.shape.num_columns, path.result_bytes),
                    panel_bytes = kColumns * path.result_bytes;
  for_each_run(path, rows, gate.shape, [&](PanelProduct& product, Range panels) {
    thread_local AlignedBuffer buffer;
    const auto n = static_cast<std::size_t>(product.num_sums()),
               gates_elems = n * static_cast<std::size_t>(panels.size());
    buffer.reserve(gates_elems * sizeof(float) + n * path.result_bytes);
    auto* gates = buffer.as<float>();
    std::byte* results = buffer.data() + gates_elems * sizeof(float);
    for (std::int64_t panel = panels.begin; panel < panels.end; ++panel)
      std::memcpy(gates + (panel - panels.begin) * product.num_sums(), product(gate, panel), n * sizeof(float));

    for (std::int64_t panel = panels.begin; panel < panels.end; ++panel) {
      path.gated_gelu(gates + (panel - panels.begin) * product.num_sums(), product(up, panel), product.num_sums(),
                      results);
      std::byte* to = h + bytes_of(product.first_row(), h_row_bytes) + bytes_of(panel, panel_bytes);
      for (std::size_t row = 0; row < static_cast<std::size_t>(product.num_rows()); ++row)
        std::memcpy(to + row * h_row_bytes, results + row * panel_bytes,
                    columns(gate.shape, panel) * path.result_bytes);
    }
  });
}

/// What rows of a group are multiplied with: calls body(group, rows) for all groups that have rows.
template <class Body>
void for_each_group(const backend::Groups& groups, std::size_t num_groups, const Body& body) {
  const std::int32_t* psum_rows = groups.psum_rows.address();
  for (std::size_t g = 0; g < num_groups; ++g)
    if (psum_rows[g] < psum_rows[g + 1]) body(g, Range{psum_rows[g], psum_rows[g + 1]});
}

std::size_t input_row_bytes(const Path& path, const PanelLayout& shape) {
  return input_of(product_with(path, shape), shape).row_bytes();
}

}  // namespace

void gemm(const Path& path, const std::byte* x, std::int64_t num_rows, const PackedMatrix& w, float* y,
          std::int64_t y_stride) {
  if (num_rows == 0) return;
  const PackedRows rows(path, x, num_rows, w.shape);
  for_each_run(path, rows, w.shape, [&](PanelProduct& product, Range panels) {
    for (std::int64_t panel = panels.begin; panel < panels.end; ++panel) {
      const float* sums = product(w, panel);
      float* to = y + product.first_row() * y_stride + panel * kColumns;
      for (std::int64_t row = 0; row < product.num_rows(); ++row)
        std::memcpy(to + row * y_stride, sums + row * kColumns, columns(w.shape, panel) * sizeof(float));
    }
  });
}

void grouped_gemm(const Path& path, const std::byte* x, const backend::Groups& groups,
                  std::span<const backend::Matrix> w, float* y) {
  for_each_group(groups, w.size(), [&](std::size_t group, Range rows) {
    const PackedMatrix matrix(w[group]);
    gemm(path, x + bytes_of(rows.begin, input_row_bytes(path, matrix.shape)), rows.size(), matrix,
         y + rows.begin * matrix.shape.num_columns, matrix.shape.num_columns);
  });
}

void grouped_gated_gelu(const Path& path, const std::byte* x, const backend::Groups& groups,
                        std::span<const backend::Matrix> gate, std::span<const backend::Matrix> up,
                        std::int64_t num_leaves, std::byte* h) {
  if (gate.empty()) return;
  const std::int64_t num_columns = gate[0].shape.num_columns;
  const std::size_t result_row_bytes = bytes_of(num_columns, path.result_bytes);
  // A leaf's scale is known when all of its columns are.
  thread_local AlignedBuffer unrounded;
  std::byte* results = h;
  const bool quantises = RowForm{path.input.type}.quantised();
  if (quantises) {
    unrounded.reserve(bytes_of(groups.num_rows, result_row_bytes));
    results = unrounded.data();
  }
  for_each_group(groups, gate.size(), [&](std::size_t group, Range rows) {
    const PackedMatrix matrix(gate[group]);
    gated_gelu_results(path, x + bytes_of(rows.begin, input_row_bytes(path, matrix.shape)), rows.size(), matrix,
                       PackedMatrix(up[group]), results + bytes_of(rows.begin, result_row_bytes));
  });
  if (quantises) to_input(path, reinterpret_cast<const float*>(results), groups.num_rows, num_columns, num_leaves, h);
}

}  // namespace moesaic::cpu
