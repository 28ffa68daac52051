#include "model/weights.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>

#include "base/error.hpp"
#include "base/parallel.hpp"
#include "host/binding.hpp"
#include "host/progress.hpp"

namespace moesaic {
namespace {

static_assert(plan::kVocabularyPiece_rows == io::kEmbedPieceRows);

constexpr std::chrono::seconds kProgressInterval{10};  ///< nothing is said of loads that take less

/// Small enough for a core's cache: what was read is packed before it has left it.
constexpr std::int64_t kScratch_bytes = std::int64_t{256} << 10;

/// Lays out the rank's memory first, then fills it: each tensor piece becomes one task, run by any thread.
class Loader {
 public:
  Loader(const io::StoreReader& store, const plan::Grid& grid, plan::WorldRank rank, Numerics numerics)
      : store_(store),
        grid_(grid),
        config_(grid.config()),
        me_(grid.in_stage(rank)),
        stage_(grid.stage(rank)),
        act_(activation_type(numerics)),
        type_(packed_type(store.index().format(), numerics)) {}

  ModelWeights load() {
    ModelWeights weights;
    for (const bool dry : {true, false}) {  // the first pass only measures
      offset_ = 0;
      planned_bytes_ = 0;
      beginnings_.clear();
      tasks_.clear();
      weights.layers.clear();
      if (!dry) weights.memory = memory_of(needed_bytes_);
      base_ = weights.memory.data();
      plan_model(weights);
      needed_bytes_ = offset_;
    }
    host::Progress progress("loading", planned_bytes_, kProgressInterval);
    run(touching(weights.memory));
    run(beginnings_);
    run(tasks_, [&] { progress.report(store_.bytes_read()); });
    return weights;
  }

 private:
  using Task = std::function<void(std::span<std::byte> scratch)>;

  /// Panels are handed out to whichever thread is free. So a page's place among several domains cannot follow the
  /// thread that will read it, and all domains' memory should be busy at the same time. In one domain, first touch
  /// suffices.
  static AlignedBuffer memory_of(std::size_t size_bytes) {
    AlignedBuffer memory(size_bytes);
    if (size_bytes >= kHugePage_bytes) host::spread_over_domains({memory.data(), size_bytes});
    return memory;
  }

  /// The system clears a page when it is first written to. Were that left to the other tasks, several threads would
  /// clear one huge page at the same time, all but one in vain.
  static std::vector<Task> touching(AlignedBuffer& memory) {
    std::vector<Task> tasks;
    for (std::size_t at = 0; at < memory.size_bytes(); at += kHugePage_bytes)
      tasks.push_back([page = memory.data() + at](std::span<std::byte>) { *page = std::byte{0}; });
    return tasks;
  }

  /// A task that reads a piece of a tensor.
  void add(const io::StoredTensor& tensor, std::int64_t piece, Task task) {
    planned_bytes_ += tensor.spec.piece_bytes(piece);
    tasks_.push_back(std::move(task));
  }

  std::byte* place(std::size_t size_bytes) {
    std::byte* at = base_ ? base_ + offset_ : nullptr;
    offset_ += (size_bytes + 63) / 64 * 64;
    return at;
  }

  const io::StoredTensor& tensor(std::string_view part) const {
    return store_.index().tensor(io::layer_tensor(layer_, part));
  }

  ops::PackedMatrix matrix(const ops::MatrixShape& shape) {
    const ops::PackedMatrix packed{shape, place(shape.total_bytes())};
    beginnings_.push_back([packed](std::span<std::byte>) { ops::begin_packing(packed.shape, writable(packed)); });
    tasks_.push_back([packed](std::span<std::byte>) { clear_padding(packed); });
    return packed;
  }

  static void clear_padding(const ops::PackedMatrix& w) {
    ops::clear_padding(w.shape, writable(w));
    if (w.shape.scales_bytes() == 0) return;
    for (std::int64_t leaf = 0; leaf < w.shape.num_leaves; ++leaf)
      std::fill(writable_scales(w, leaf) + w.shape.num_columns, writable_scales(w, leaf) + w.shape.padded_columns(),
                0.0f);
  }

  static std::byte* writable(const ops::PackedMatrix& w) { return const_cast<std::byte*>(w.data); }
  static float* writable_scales(const ops::PackedMatrix& w, std::int64_t leaf) {
    return const_cast<float*>(w.scales(leaf));
  }

  void plan_model(ModelWeights& weights) {
    const Range layers = grid_.layers(stage_);
    const bool first = stage_ == 0, last = stage_ == grid_.num_stages() - 1;
    if (first || last) weights.embedding = embedding();
    if (last) weights.final_norm = vector(store_.index().tensor(io::kFinalNorm));
    for (layer_ = layers.begin; layer_ < layers.end; ++layer_) weights.layers.push_back(layer());
  }

  LayerWeights layer() {
    LayerWeights w;
    w.norm_attn_in = vector(tensor(io::kNormAttnIn));
    w.norm_attn_out = vector(tensor(io::kNormAttnOut));
    w.norm_moe_in = vector(tensor(io::kNormMoeIn));
    w.norm_moe_out = vector(tensor(io::kNormMoeOut));
    w.router = vector(tensor(io::kRouter));
    w.qkv = qkv();
    w.attn_out = attn_out();
    for (const std::int32_t e : grid_.placement().experts(layer_, grid_.subset(me_)))
      w.experts.push_back({up_projection({io::kMoeGate, io::kMoeGateScales}, e),
                           up_projection({io::kMoeUp, io::kMoeUpScales}, e), down_projection(e)});
    return w;
  }

  /// A small fp32 tensor that every rank of the stage holds whole.
  const float* vector(const io::StoredTensor& tensor) {
    const auto size = static_cast<std::size_t>(tensor.spec.size_bytes());
    std::byte* into = place(size);
    add(tensor, 0, [this, &tensor, into, size](std::span<std::byte>) { store_.read_piece(tensor, 0, {into, size}); });
    return reinterpret_cast<const float*>(into);
  }

  /// Packs a piece (inputs, columns) into a leaf and columns of a matrix; of int4 also its scales.
  void pack_piece(const ops::PackedMatrix& w, const io::MatrixNames& names, std::int64_t piece, std::int64_t leaf,
                  std::int64_t first_column, std::int64_t num_columns) {
    if (type_ == DType::kInt4x2) pack_scales(w, tensor(names.scales), piece, leaf, first_column, num_columns);
    add(tensor(names.weights), piece, [=, this, &tensor = tensor(names.weights)](std::span<std::byte> scratch) {
      // Inputs are packed in pairs, so every chunk begins at an even row; an odd last row makes the unit a single row.
      // Rows of int4 are pairs already.
      const std::int64_t row_inputs = type_ == DType::kInt4x2 ? 2 : 1,
                         row_bytes = num_columns * static_cast<std::int64_t>(size_bytes(type_)),
                         pair_bytes = 2 / row_inputs * row_bytes;
      const std::int64_t unit_bytes = w.shape.leaf_size % 2 == 0 ? pair_bytes : row_bytes;
      const auto whole_pairs =
          scratch.size() / static_cast<std::size_t>(pair_bytes) * static_cast<std::size_t>(pair_bytes);
      store_.stream_piece(
          tensor, piece, unit_bytes, scratch.first(whole_pairs),
          [&](std::int64_t offset, std::span<const std::byte> chunk) {
            const std::int64_t first = offset / row_bytes * row_inputs,
                               rows = static_cast<std::int64_t>(chunk.size()) / row_bytes,
                               inputs = std::min(rows * row_inputs, w.shape.leaf_size - first);
            ops::pack(w.shape, {leaf, first, inputs, first_column, num_columns}, chunk.data(), writable(w));
          });
    });
  }

  void pack_scales(const ops::PackedMatrix& w, const io::StoredTensor& tensor, std::int64_t piece, std::int64_t leaf,
                   std::int64_t first_column, std::int64_t num_columns) {
    add(tensor, piece, [=, this, &tensor](std::span<std::byte>) {
      std::vector<std::byte> scales(static_cast<std::size_t>(tensor.spec.piece_bytes(piece)));
      store_.read_piece(tensor, piece, scales);
      ops::pack_scales(w.shape, {leaf, 0, int4_groups(w.shape.leaf_size), first_column, num_columns}, scales.data(),
                       writable(w));
    });
  }

  /// int8: reads num_columns scales, from source_offset in a piece of a scales tensor, for a leaf and columns of a
  /// matrix.
  void read_scales(const ops::PackedMatrix& w, std::string_view scales, std::int64_t piece, std::int64_t source_offset,
                   std::int64_t leaf, std::int64_t first_column, std::int64_t num_columns) {
    if (!ops::MatrixShape{type_}.has_scales()) return;
    add(tensor(scales), piece, [=, this, &tensor = tensor(scales)](std::span<std::byte>) {
      std::vector<float> values(static_cast<std::size_t>(tensor.spec.piece_bytes(piece)) / sizeof(float));
      store_.read_piece(tensor, piece, std::as_writable_bytes(std::span(values)));
      std::memcpy(writable_scales(w, leaf) + first_column, values.data() + source_offset,
                  static_cast<std::size_t>(num_columns) * sizeof(float));
    });
  }

  ops::PackedMatrix qkv() {
    const Range heads = grid_.kv_heads(grid_.shard(me_));
    const std::int64_t q_columns = config_.q_per_kv() * config_.key_size, k_columns = config_.key_size;
    const ops::PackedMatrix w = matrix({type_, 1, config_.emb_size, heads.size() * (q_columns + 2 * k_columns)});
    std::int64_t column = 0;
    const auto part = [&](const io::MatrixNames& names, std::int64_t head_columns) {
      read_scales(w, names.scales, 0, heads.begin * head_columns, 0, column, heads.size() * head_columns);
      for (std::int64_t head = heads.begin; head < heads.end; ++head, column += head_columns)
        pack_piece(w, names, head, 0, column, head_columns);
    };
    part({io::kQuery, io::kQueryScales}, q_columns);
    part({io::kKey, io::kKeyScales}, k_columns);
    part({io::kValue, io::kValueScales}, k_columns);
    return w;
  }

  /// Leaves `leaves` of a row-parallel matrix whose pieces are its eighths; scales in 1 or 8 groups.
  ops::PackedMatrix row_parallel(const io::MatrixNames& names, std::int64_t inputs, Range leaves,
                                 std::int64_t first_piece, std::int64_t scales_piece, std::int64_t groups) {
    const std::int64_t width = config_.emb_size;
    const ops::PackedMatrix w = matrix({type_, leaves.size(), inputs / kNumLeaves, width});
    for (std::int64_t leaf = leaves.begin; leaf < leaves.end; ++leaf) {
      pack_piece(w, names, first_piece + leaf, leaf - leaves.begin, 0, width);
      read_scales(w, names.scales, scales_piece, groups == 1 ? 0 : leaf * width, leaf - leaves.begin, 0, width);
    }
    return w;
  }

  ops::PackedMatrix attn_out() {
    const Range leaves = grid_.attention_leaves()[static_cast<std::size_t>(grid_.shard(me_))];
    return row_parallel({io::kAttnOut, io::kAttnOutScales}, config_.attn_size(), leaves, 0, 0,
                        store_.index().groups().attn_out);
  }

  ops::PackedMatrix down_projection(std::int64_t expert) {
    const Range leaves = grid_.expert_leaves()[static_cast<std::size_t>(grid_.slice(me_))];
    return row_parallel({io::kMoeDown, io::kMoeDownScales}, config_.ffn_size, leaves, io::expert_piece(expert, 0),
                        expert, store_.index().groups().moe_down);
  }

  ops::PackedMatrix up_projection(const io::MatrixNames& names, std::int64_t expert) {
    const Range leaves = grid_.expert_leaves()[static_cast<std::size_t>(grid_.slice(me_))];
    const std::int64_t leaf_columns = config_.ffn_size / kNumLeaves;
    const ops::PackedMatrix w = matrix({type_, 1, config_.emb_size, leaves.size() * leaf_columns});
    read_scales(w, names.scales, expert, leaves.begin * leaf_columns, 0, 0, w.shape.num_columns);
    for (std::int64_t leaf = leaves.begin; leaf < leaves.end; ++leaf)
      pack_piece(w, names, io::expert_piece(expert, leaf), 0, (leaf - leaves.begin) * leaf_columns, leaf_columns);
    return w;
  }

  /// The rank's rows of the table as columns of the head: (D, vocabulary) in the activation type.
  ops::PackedMatrix embedding() {
    const Range rows = grid_.vocabulary(me_);
    const io::StoredTensor& table = store_.index().tensor(io::kEmbed);
    const ops::PackedMatrix w = matrix({act_, 1, config_.emb_size, rows.size()});
    for (std::int64_t row = rows.begin; row < rows.end; row += io::kEmbedPieceRows)
      pack_rows(w, table, row / io::kEmbedPieceRows, row - rows.begin);
    return w;
  }

  /// Packs a piece of an fp32 table, whose rows become columns.
  void pack_rows(const ops::PackedMatrix& w, const io::StoredTensor& table, std::int64_t piece,
                 std::int64_t first_column) {
    add(table, piece, [=, this, &table](std::span<std::byte> scratch) {
      const std::int64_t row_bytes = panel_of_rows_bytes() / ops::kPanelColumns;
      store_.stream_piece(table, piece, row_bytes, scratch.first(static_cast<std::size_t>(panel_of_rows_bytes())),
                          [&](std::int64_t offset, std::span<const std::byte> chunk) {
                            const std::int64_t num_rows = static_cast<std::int64_t>(chunk.size()) / row_bytes;
                            ops::pack_rows(w.shape, first_column + offset / row_bytes, num_rows,
                                           reinterpret_cast<const float*>(chunk.data()), writable(w));
                          });
    });
  }

  /// Rows of the embedding table that make a panel: the least that gives whole cache lines.
  std::int64_t panel_of_rows_bytes() const {
    return ops::kPanelColumns * config_.emb_size * static_cast<std::int64_t>(sizeof(float));
  }

  /// Runs tasks with all threads, done() after each; the first failure is thrown when all have ended.
  void run(
      const std::vector<Task>& tasks, const std::function<void()>& done = [] {}) const {
    parallel_for(std::ssize(tasks), [&](std::int64_t task) {
      thread_local AlignedBuffer scratch;
      scratch.reserve(static_cast<std::size_t>(std::max(kScratch_bytes, panel_of_rows_bytes())));
      tasks[static_cast<std::size_t>(task)]({scratch.data(), scratch.size_bytes()});
      done();
    });
  }

  const io::StoreReader& store_;
  const plan::Grid& grid_;
  const ModelConfig config_;
  const plan::StageRank me_;
  const int stage_;
  const DType act_, type_;  // of the embedding, of the large matrices
  std::int64_t layer_ = 0;
  std::byte* base_ = nullptr;
  std::size_t offset_ = 0, needed_bytes_ = 0;
  std::int64_t planned_bytes_ = 0;  // to be read
  std::vector<Task> beginnings_, tasks_;
};

}  // namespace

ModelWeights load_weights(const io::StoreReader& store, const plan::Grid& grid, plan::WorldRank rank,
                          Numerics numerics) {
  const ModelConfig& c = grid.config();
  const std::int64_t longest = std::max({c.emb_size, c.attn_size() / kNumLeaves, c.ffn_size / kNumLeaves});
  if (numerics == Numerics::kW8A8 && longest > kMostQuantisedInputs)
    fail("--numerics w8a8: sums of {} inputs may not fit in 32 bits, at most {} do; use w8a16", longest,
         kMostQuantisedInputs);
  return Loader(store, grid, rank, numerics).load();
}

}  // namespace moesaic
