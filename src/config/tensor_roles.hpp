#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "config/model_config.hpp"

namespace moesaic {

/// What a tensor of weights is for. The order is that of kTensorRows.
enum class TensorRole : std::uint8_t {
  kEmbed,
  kFinalNorm,
  kQuery,
  kKey,
  kValue,
  kAttnOut,
  kMoeGate,
  kMoeUp,
  kMoeDown,
  kRouter,
  kNormAttnIn,
  kNormAttnOut,
  kNormMoeIn,
  kNormMoeOut,
};

/// How many tensors of a role a model has.
enum class PerUnit : std::uint8_t {
  kModel,   ///< one
  kLayer,   ///< one for each layer
  kExpert,  ///< one for each expert of each layer; the store keeps a layer's as one tensor with the expert as first
            ///< axis
};

/// An axis of a tensor, by what it has one element for; the letters are those of docs/glossary.md.
enum class Axis : std::uint8_t {
  kOne,      ///< the inputs of a norm's weights, which are a vector
  kV,        ///< vocabulary
  kD,        ///< width of the residual stream
  kHK,       ///< queries of all heads
  kGK,       ///< keys (or values) of all kv heads
  kF,        ///< width of an expert
  kExperts,  ///< E
};
std::int64_t extent(const ModelConfig& config, Axis axis);

/// The pieces that a tensor is stored, hashed and shared out in. What is cut finer than in rows is a large matrix: it
/// is kept in the store's weight format with its scales, everything else as fp32.
enum class Cut : std::uint8_t {
  kWhole,         ///< one piece, which every rank of a stage holds
  kRows,          ///< kVocabularyPiece_rows rows each
  kKvHeads,       ///< the columns of a kv head (of its queries, its keys): (G, inputs, columns / G)
  kColumnLeaves,  ///< eighths of the columns: (8, inputs, columns / 8)
  kInputLeaves,   ///< eighths of the inputs, which are the leaves of the contraction: (8, inputs / 8, columns)
};

/// The embedding table is shared out, and hashed in the store, in pieces of this many rows.
inline constexpr std::int64_t kVocabularyPiece_rows = 64;

/// One line of the table of a model's tensors: inventory of the store, loading, footprint, costs, synthetic weights and
/// converters follow from it.
struct TensorRow {
  TensorRole role;
  std::string_view name;    ///< in the store; a layer's stands behind "layers/N/"
  std::string_view scales;  ///< name of the tensor of its scales; empty unless it is a large matrix
  PerUnit per;
  Cut cut;
  Axis inputs, columns;      ///< the tensor is (inputs, columns): n . tensor
  bool after_block = false;  ///< only models whose blocks have a norm behind them have it (BlockNorms)

  constexpr bool is_matrix() const { return cut > Cut::kRows; }
  constexpr bool is_norm() const { return inputs == Axis::kOne; }
  constexpr bool present(const ArchSpec& arch) const {
    return !after_block || arch.block_norms == BlockNorms::kBeforeAndAfter;
  }
};

/// All tensors in the order of the store; there the scales of neighbouring matrices of one PerUnit follow behind these.
inline constexpr TensorRow kTensorRows[] = {
    {TensorRole::kEmbed, "embed", "", PerUnit::kModel, Cut::kRows, Axis::kV, Axis::kD},
    {TensorRole::kFinalNorm, "final_norm", "", PerUnit::kModel, Cut::kWhole, Axis::kOne, Axis::kD},
    {TensorRole::kQuery, "attn/query", "attn/query_scales", PerUnit::kLayer, Cut::kKvHeads, Axis::kD, Axis::kHK},
    {TensorRole::kKey, "attn/key", "attn/key_scales", PerUnit::kLayer, Cut::kKvHeads, Axis::kD, Axis::kGK},
    {TensorRole::kValue, "attn/value", "attn/value_scales", PerUnit::kLayer, Cut::kKvHeads, Axis::kD, Axis::kGK},
    {TensorRole::kAttnOut, "attn/out", "attn/out_scales", PerUnit::kLayer, Cut::kInputLeaves, Axis::kHK, Axis::kD},
    {TensorRole::kMoeGate, "moe/gate", "moe/gate_scales", PerUnit::kExpert, Cut::kColumnLeaves, Axis::kD, Axis::kF},
    {TensorRole::kMoeUp, "moe/up", "moe/up_scales", PerUnit::kExpert, Cut::kColumnLeaves, Axis::kD, Axis::kF},
    {TensorRole::kMoeDown, "moe/down", "moe/down_scales", PerUnit::kExpert, Cut::kInputLeaves, Axis::kF, Axis::kD},
    {TensorRole::kRouter, "moe/router", "", PerUnit::kLayer, Cut::kWhole, Axis::kD, Axis::kExperts},
    {TensorRole::kNormAttnIn, "norm/attn_in", "", PerUnit::kLayer, Cut::kWhole, Axis::kOne, Axis::kD},
    {TensorRole::kNormAttnOut, "norm/attn_out", "", PerUnit::kLayer, Cut::kWhole, Axis::kOne, Axis::kD, true},
    {TensorRole::kNormMoeIn, "norm/moe_in", "", PerUnit::kLayer, Cut::kWhole, Axis::kOne, Axis::kD},
    {TensorRole::kNormMoeOut, "norm/moe_out", "", PerUnit::kLayer, Cut::kWhole, Axis::kOne, Axis::kD, true},
};
constexpr const TensorRow& tensor_row(TensorRole role) { return kTensorRows[static_cast<std::size_t>(role)]; }

/// Pieces that a tensor (of one expert) is cut into; 1 for kWhole and kRows.
std::int64_t num_parts(const ModelConfig& config, const TensorRow& row);

/// `leaves` matrices of (leaf_inputs, columns) each.
struct TensorShare {
  std::int64_t leaves = 1, leaf_inputs = 1, columns = 1;
  std::int64_t num_elems() const { return leaves * leaf_inputs * columns; }
};
/// What a rank holds of a tensor (of one expert) when it owns this many of the 8 leaves, or the kv heads of these.
TensorShare share_of(const ModelConfig& config, const TensorRow& row, std::int64_t leaves = kNumLeaves);

/// Weights of a layer's large matrices of one PerUnit (of one expert) in the share of a rank with so many leaves.
std::int64_t matrix_elems(const ModelConfig& config, PerUnit per, std::int64_t leaves = kNumLeaves);

}  // namespace moesaic
