#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtypes.hpp"
#include "config/model_config.hpp"
#include "config/weight_format.hpp"

namespace moesaic::io {

/// Rows of the embedding table in one piece; the last piece may have fewer.
inline constexpr std::int64_t kEmbedPieceRows = 64;

/// Input groups of the row-parallel tensors' scales, 1 or 8 each; 8 groups are the leaves.
struct ScaleGroups {
  std::int64_t attn_out = kNumLeaves;
  std::int64_t moe_down = kNumLeaves;
  friend bool operator==(ScaleGroups, ScaleGroups) = default;
};

/// One tensor of a store: row-major, cut into pieces, each of them one contiguous extent with a hash of its own.
struct TensorSpec {
  std::string name;  ///< path in the HDF5 file, e.g. "layers/3/moe/gate"
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;          ///< fastest axis last
  int piece_axes = 0;                       ///< leading axes whose indices number the pieces; 0: one piece
  std::int64_t piece_rows = 1;              ///< indices of the piece axes in one piece (embed only: kEmbedPieceRows)
  std::array<const char*, 2> axis_names{};  ///< of the piece axes, for messages: "expert", "eighth"

  std::int64_t num_elems() const;
  std::int64_t size_bytes() const;
  std::int64_t num_pieces() const;
  /// Size of every piece but perhaps the last.
  std::int64_t piece_bytes() const;
  /// Size of this piece.
  std::int64_t piece_bytes(std::int64_t piece) const;
  /// Where the piece begins, from the tensor's begin.
  std::int64_t piece_offset_bytes(std::int64_t piece) const { return piece * piece_bytes(); }
  /// In words: "expert 3, eighth 5", "rows 64 to 127", "the whole tensor".
  std::string describe_piece(std::int64_t piece) const;
};

// Names. Letters: V vocabulary, D width, H q-heads, G kv-heads, K head size, E experts, F ffn; shapes are those stored
// in an int8 store. bf16: matrices are bf16, and there are no scales. int4: the input axis of a matrix is pairs of
// inputs (int4x2), and scales are bf16 in the matrix's shape, with groups of kInt4GroupInputs inputs instead of inputs.
inline constexpr std::string_view kEmbed = "embed";           ///< f32 (V, D), piece: 64 rows
inline constexpr std::string_view kFinalNorm = "final_norm";  ///< f32 (D)
// In every layer, behind "layers/N/":
inline constexpr std::string_view kQuery = "attn/query";               ///< int8 (G, D, H/G*K), piece: kv head
inline constexpr std::string_view kKey = "attn/key";                   ///< int8 (G, D, K), piece: kv head
inline constexpr std::string_view kValue = "attn/value";               ///< int8 (G, D, K), piece: kv head
inline constexpr std::string_view kAttnOut = "attn/out";               ///< int8 (8, H*K/8, D), piece: eighth
inline constexpr std::string_view kQueryScales = "attn/query_scales";  ///< f32 (H*K)
inline constexpr std::string_view kKeyScales = "attn/key_scales";      ///< f32 (G*K)
inline constexpr std::string_view kValueScales = "attn/value_scales";  ///< f32 (G*K)
inline constexpr std::string_view kAttnOutScales = "attn/out_scales";  ///< f32 (groups, D)
inline constexpr std::string_view kMoeGate = "moe/gate";               ///< int8 (E, 8, D, F/8), piece: expert, eighth
inline constexpr std::string_view kMoeUp = "moe/up";                   ///< int8 (E, 8, D, F/8), piece: expert, eighth
inline constexpr std::string_view kMoeDown = "moe/down";               ///< int8 (E, 8, F/8, D), piece: expert, eighth
inline constexpr std::string_view kMoeGateScales = "moe/gate_scales";  ///< f32 (E, F), piece: expert
inline constexpr std::string_view kMoeUpScales = "moe/up_scales";      ///< f32 (E, F), piece: expert
inline constexpr std::string_view kMoeDownScales = "moe/down_scales";  ///< f32 (E, groups, D), piece: expert
inline constexpr std::string_view kRouter = "moe/router";              ///< f32 (D, E)
inline constexpr std::string_view kNormAttnIn = "norm/attn_in";        ///< f32 (D), xAI's rms_norm
inline constexpr std::string_view kNormAttnOut = "norm/attn_out";      ///< f32 (D), rms_norm_1
inline constexpr std::string_view kNormMoeIn = "norm/moe_in";          ///< f32 (D), rms_norm_2
inline constexpr std::string_view kNormMoeOut = "norm/moe_out";        ///< f32 (D), rms_norm_3

inline constexpr std::int64_t kModelTensors = 2;  ///< outside the layers
/// In each layer.
constexpr std::int64_t layer_tensors(WeightFormat format) { return format == WeightFormat::kBf16 ? 12 : 19; }

/// The large matrices of a layer and their scales.
struct MatrixNames {
  std::string_view weights, scales;
};
inline constexpr MatrixNames kMatrices[] = {
    {kQuery, kQueryScales},     {kKey, kKeyScales},     {kValue, kValueScales},    {kAttnOut, kAttnOutScales},
    {kMoeGate, kMoeGateScales}, {kMoeUp, kMoeUpScales}, {kMoeDown, kMoeDownScales}};

/// Where an int8 store has the scales of a matrix's piece, one a column: in this piece of the scales, from this
/// element.
struct ScalesAt {
  std::int64_t piece = 0, first_elem = 0;
};
ScalesAt int8_scales_at(const TensorSpec& weights, const TensorSpec& scales, std::int64_t piece);

/// "(8, 6144, 32768)", for messages.
std::string shape_text(const std::vector<std::int64_t>& shape);

/// "layers/N/" + part.
std::string layer_tensor(std::int64_t layer, std::string_view part);

/// Number of the piece of `expert`'s eighth `leaf` in kMoeGate, kMoeUp and kMoeDown.
constexpr std::int64_t expert_piece(std::int64_t expert, std::int64_t leaf) { return expert * kNumLeaves + leaf; }

/// All tensors of a model in the order of the store: embed, final_norm, then each layer's. Error when a size does not
/// fit 62 bits or the groups are neither 1 nor 8.
std::vector<TensorSpec> tensor_inventory(const ModelConfig& config, ScaleGroups groups,
                                         WeightFormat format = WeightFormat::kInt8);

/// The tensors of one layer alone, in the same order.
std::vector<TensorSpec> layer_inventory(const ModelConfig& config, ScaleGroups groups, WeightFormat format,
                                        std::int64_t layer);

}  // namespace moesaic::io
