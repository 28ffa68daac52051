#include "model/weights.hpp"

#include <algorithm>
#include <chrono>
#include <functional>

#include "base/aligned_buffer.hpp"
#include "base/error.hpp"
#include "base/parallel.hpp"
#include "base/units.hpp"
#include "host/progress.hpp"

namespace moesaic {
namespace {

constexpr std::chrono::seconds kProgressInterval{10};  ///< nothing is said of loads that take less

/// Small enough for a core's cache: what was read is packed before it has left it.
constexpr std::int64_t kScratch_bytes = std::int64_t{256} << 10;
constexpr std::int64_t kPanelRows = 32;  ///< rows of a table begin at multiples of it (backend::Packer)

/// Lays out the rank's memory first, then fills it: each tensor piece becomes one task, run by any thread.
class Loader {
 public:
  Loader(const io::StoreReader& store, const plan::Grid& grid, plan::WorldRank rank, backend::Backend& backend)
      : store_(store),
        grid_(grid),
        config_(grid.config()),
        me_(grid.in_stage(rank)),
        stage_(grid.stage(rank)),
        backend_(backend),
        packer_(backend.packer()),
        act_(activation_type(backend.numerics())),
        type_(packed_type(store.index().format(), backend.numerics())) {}

  ModelWeights load() {
    ModelWeights weights;
    for (const bool dry : {true, false}) {  // the first pass only measures
      offset_ = 0;
      planned_bytes_ = 0;
      beginnings_.clear();
      tasks_.clear();
      weights.layers = {};
      if (!dry) weights.memory = backend_.allocate_weights(needed_bytes_);
      base_ = weights.memory.data();
      plan_model(weights);
      needed_bytes_ = offset_;
    }
    host::Progress progress("loading", planned_bytes_, kProgressInterval);
    run(beginnings_);
    run(tasks_, [&] { progress.report(store_.bytes_read()); });
    return weights;
  }

 private:
  using Task = std::function<void(std::span<std::byte> scratch)>;

  /// A task that reads a piece of a tensor.
  void add(const io::StoredTensor& tensor, std::int64_t piece, Task task) {
    planned_bytes_ += tensor.spec.piece_bytes(piece);
    tasks_.push_back(std::move(task));
  }

  backend::Bytes place(std::size_t size_bytes) {
    const backend::Bytes at = base_ ? base_ + static_cast<std::int64_t>(offset_) : base_;
    offset_ += aligned(size_bytes);
    return at;
  }

  /// A tensor of the model, or of the layer that is being planned.
  const io::StoredTensor& tensor(TensorRole role) const {
    const TensorRow& row = tensor_row(role);
    return row.per == PerUnit::kModel ? store_.index().tensor(row.name) : layer_tensor(row.name);
  }
  const io::StoredTensor& scales(TensorRole role) const { return layer_tensor(tensor_row(role).scales); }
  const io::StoredTensor& layer_tensor(std::string_view name) const {
    return store_.index().tensor(io::layer_tensor(layer_, name));
  }

  backend::Matrix matrix(const backend::MatrixShape& shape) {
    const backend::Matrix w{shape, place(packer_.size_bytes(shape))};
    beginnings_.push_back([=, this](std::span<std::byte>) { packer_.begin(w); });
    tasks_.push_back([=, this](std::span<std::byte>) { packer_.clear_padding(w); });
    return w;
  }

  void plan_model(ModelWeights& weights) {
    const bool first = stage_ == plan::StageId(0), last = stage_ == grid_.last_stage();
    if (first || last) weights.embedding = embedding();
    if (last) weights.final_norm = vector(TensorRole::kFinalNorm);
    for (const ModelLayer layer : grid_.layers(stage_)) weights.layers.push_back(plan_layer(layer));
  }

  LayerWeights plan_layer(ModelLayer layer) {
    layer_ = layer;
    LayerWeights w;
    w.norm_attn_in = vector(TensorRole::kNormAttnIn);
    w.norm_attn_out = vector(TensorRole::kNormAttnOut);
    w.norm_moe_in = vector(TensorRole::kNormMoeIn);
    w.norm_moe_out = vector(TensorRole::kNormMoeOut);
    w.router = vector(TensorRole::kRouter);
    w.qkv = qkv();
    w.attn_out = attn_out();
    for (const ExpertId e : grid_.placement().experts(layer_, grid_.subset(me_))) {
      w.experts.gate.push_back(up_projection(TensorRole::kMoeGate, e));
      w.experts.up.push_back(up_projection(TensorRole::kMoeUp, e));
      w.experts.down.push_back(down_projection(e));
    }
    return w;
  }

  /// A small fp32 tensor that every rank of the stage holds whole.
  backend::Ptr<const float> vector(TensorRole role) {
    const io::StoredTensor& tensor = this->tensor(role);
    const auto size = static_cast<std::size_t>(tensor.spec.size_bytes());
    const backend::Bytes into = place(size);
    add(tensor, 0, [=, this, &tensor](std::span<std::byte>) {
      std::vector<std::byte> bytes(size);
      store_.read_piece(tensor, 0, bytes);
      packer_.store(into, bytes);
    });
    return into.as<const float>();
  }

  /// Packs a piece (inputs, columns) into a leaf and columns of a matrix; of int4 also its scales.
  void pack_piece(const backend::Matrix& w, TensorRole role, std::int64_t piece, std::int64_t leaf,
                  std::int64_t first_column, std::int64_t num_columns) {
    if (type_ == DType::kInt4x2) pack_scales(w, scales(role), piece, leaf, first_column, num_columns);
    add(tensor(role), piece, [=, this, &tensor = tensor(role)](std::span<std::byte> scratch) {
      // Every chunk begins at a multiple of kPackedInputs; a piece that has no whole number of them is cut by rows.
      // Rows of int4 are pairs of inputs.
      const std::int64_t row_inputs = type_ == DType::kInt4x2 ? 2 : 1,
                         row_bytes = num_columns * static_cast<std::int64_t>(size_bytes(type_)),
                         block_bytes = backend::kPackedInputs / row_inputs * row_bytes;
      const std::int64_t unit_bytes = w.shape.leaf_size % backend::kPackedInputs == 0 ? block_bytes : row_bytes;
      const auto whole_blocks =
          scratch.size() / static_cast<std::size_t>(block_bytes) * static_cast<std::size_t>(block_bytes);
      store_.stream_piece(tensor, piece, unit_bytes, scratch.first(whole_blocks),
                          [&](std::int64_t offset, std::span<const std::byte> chunk) {
                            const std::int64_t first = offset / row_bytes * row_inputs,
                                               rows = static_cast<std::int64_t>(chunk.size()) / row_bytes,
                                               inputs = std::min(rows * row_inputs, w.shape.leaf_size - first);
                            packer_.pack(w, {leaf, first, inputs, first_column, num_columns}, chunk.data());
                          });
    });
  }

  void pack_scales(const backend::Matrix& w, const io::StoredTensor& tensor, std::int64_t piece, std::int64_t leaf,
                   std::int64_t first_column, std::int64_t num_columns) {
    add(tensor, piece, [=, this, &tensor](std::span<std::byte>) {
      std::vector<std::byte> scales(static_cast<std::size_t>(tensor.spec.piece_bytes(piece)));
      store_.read_piece(tensor, piece, scales);
      packer_.pack_scales(w, {leaf, 0, int4_groups(w.shape.leaf_size), first_column, num_columns}, scales.data());
    });
  }

  /// int8: reads num_columns scales, from source_offset in a piece of a scales tensor, for a leaf and columns of a
  /// matrix.
  void read_scales(const backend::Matrix& w, TensorRole role, std::int64_t piece, std::int64_t source_offset,
                   std::int64_t leaf, std::int64_t first_column, std::int64_t num_columns) {
    if (!w.shape.has_scales()) return;
    add(scales(role), piece, [=, this, &tensor = scales(role)](std::span<std::byte>) {
      std::vector<float> values(static_cast<std::size_t>(tensor.spec.piece_bytes(piece)) / sizeof(float));
      store_.read_piece(tensor, piece, std::as_writable_bytes(std::span(values)));
      packer_.set_scales(
          w, leaf, first_column,
          std::span(values).subspan(static_cast<std::size_t>(source_offset), static_cast<std::size_t>(num_columns)));
    });
  }

  backend::Matrix qkv() {
    const Range heads = grid_.kv_heads(grid_.shard(me_));
    const std::int64_t q_columns = config_.q_per_kv() * config_.key_size, k_columns = config_.key_size;
    const backend::Matrix w = matrix({type_, 1, config_.emb_size, heads.size() * (q_columns + 2 * k_columns)});
    std::int64_t column = 0;
    const auto part = [&](TensorRole role, std::int64_t head_columns) {
      read_scales(w, role, 0, heads.begin * head_columns, 0, column, heads.size() * head_columns);
      for (std::int64_t head = heads.begin; head < heads.end; ++head, column += head_columns)
        pack_piece(w, role, head, 0, column, head_columns);
    };
    part(TensorRole::kQuery, q_columns);
    part(TensorRole::kKey, k_columns);
    part(TensorRole::kValue, k_columns);
    return w;
  }

  /// Leaves `leaves` of a row-parallel matrix whose pieces are its eighths; scales in 1 or 8 groups.
  backend::Matrix row_parallel(TensorRole role, std::int64_t inputs, Range leaves, std::int64_t first_piece,
                               std::int64_t scales_piece, std::int64_t groups) {
    const std::int64_t width = config_.emb_size;
    const backend::Matrix w = matrix({type_, leaves.size(), inputs / kNumLeaves, width});
    for (std::int64_t leaf = leaves.begin; leaf < leaves.end; ++leaf) {
      pack_piece(w, role, first_piece + leaf, leaf - leaves.begin, 0, width);
      read_scales(w, role, scales_piece, groups == 1 ? 0 : leaf * width, leaf - leaves.begin, 0, width);
    }
    return w;
  }

  backend::Matrix attn_out() {
    const Range leaves = grid_.attention_leaves()[grid_.shard(me_)];
    return row_parallel(TensorRole::kAttnOut, config_.attn_size(), leaves, 0, 0, store_.index().groups().attn_out);
  }

  backend::Matrix down_projection(ExpertId expert) {
    const Range leaves = grid_.expert_leaves()[grid_.slice(me_)];
    return row_parallel(TensorRole::kMoeDown, config_.ffn_size, leaves, io::expert_piece(expert, 0), expert.value(),
                        store_.index().groups().moe_down);
  }

  backend::Matrix up_projection(TensorRole role, ExpertId expert) {
    const Range leaves = grid_.expert_leaves()[grid_.slice(me_)];
    const std::int64_t leaf_columns = config_.ffn_size / kNumLeaves;
    const backend::Matrix w = matrix({type_, 1, config_.emb_size, leaves.size() * leaf_columns});
    read_scales(w, role, expert.value(), leaves.begin * leaf_columns, 0, 0, w.shape.num_columns);
    for (std::int64_t leaf = leaves.begin; leaf < leaves.end; ++leaf)
      pack_piece(w, role, io::expert_piece(expert, leaf), 0, (leaf - leaves.begin) * leaf_columns, leaf_columns);
    return w;
  }

  /// The rank's rows of the table as columns of the head: (D, vocabulary) in the activation type.
  backend::Matrix embedding() {
    const Range rows = grid_.vocabulary(me_);
    const io::StoredTensor& table = tensor(TensorRole::kEmbed);
    const backend::Matrix w = matrix({act_, 1, config_.emb_size, rows.size()});
    for (std::int64_t row = rows.begin; row < rows.end; row += kVocabularyPiece_rows)
      pack_rows(w, table, row / kVocabularyPiece_rows, row - rows.begin);
    return w;
  }

  /// Packs a piece of an fp32 table, whose rows become columns.
  void pack_rows(const backend::Matrix& w, const io::StoredTensor& table, std::int64_t piece,
                 std::int64_t first_column) {
    add(table, piece, [=, this, &table](std::span<std::byte> scratch) {
      const std::int64_t row_bytes = panel_of_rows_bytes() / kPanelRows;
      store_.stream_piece(table, piece, row_bytes, scratch.first(static_cast<std::size_t>(panel_of_rows_bytes())),
                          [&](std::int64_t offset, std::span<const std::byte> chunk) {
                            const std::int64_t num_rows = static_cast<std::int64_t>(chunk.size()) / row_bytes;
                            packer_.pack_rows(w, first_column + offset / row_bytes, num_rows,
                                              reinterpret_cast<const float*>(chunk.data()));
                          });
    });
  }

  /// Rows of the embedding table that Packer::pack_rows() takes together.
  std::int64_t panel_of_rows_bytes() const {
    return kPanelRows * config_.emb_size * static_cast<std::int64_t>(sizeof(float));
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
  const plan::StageId stage_;
  backend::Backend& backend_;
  backend::Packer& packer_;
  const DType act_, type_;  // of the embedding, of the large matrices
  ModelLayer layer_;
  backend::Bytes base_;
  std::size_t offset_ = 0, needed_bytes_ = 0;
  std::int64_t planned_bytes_ = 0;  // to be read
  std::vector<Task> beginnings_, tasks_;
};

}  // namespace

ModelWeights load_weights(const io::StoreReader& store, const plan::Grid& grid, plan::WorldRank rank,
                          backend::Backend& backend) {
  const ModelConfig& c = grid.config();
  const std::int64_t longest = std::max({c.emb_size, c.attn_size() / kNumLeaves, c.ffn_size / kNumLeaves});
  const RowForm input = input_row(backend.numerics(), longest);
  if (input.quantised() && longest > most_leaf_inputs(input.type))
    fail("--numerics {}: sums of {} inputs may not fit in 32 bits, at most {} do; use w8a16", name(backend.numerics()),
         longest, most_leaf_inputs(input.type));
  if (input.type == DType::kInt16 && c.key_size > kMostIntegerKeySize)
    fail("--numerics {}: keys of {} values give sums that may not fit in 32 bits, at most {} do; use w8a16",
         name(backend.numerics()), c.key_size, kMostIntegerKeySize);
  return Loader(store, grid, rank, backend).load();
}

}  // namespace moesaic
