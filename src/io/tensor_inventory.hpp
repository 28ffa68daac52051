#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtypes.hpp"
#include "config/ids.hpp"
#include "config/tensor_roles.hpp"
#include "config/weight_format.hpp"

namespace moesaic::io {

/// Input groups that the scales of the matrices with Cut::kInputLeaves have, 1 or 8 each; 8 groups are the leaves.
struct ScaleGroups {
  std::int64_t attn_out = kNumLeaves;
  std::int64_t moe_down = kNumLeaves;

  /// Of one matrix; 1 where all its inputs share a scale a column.
  std::int64_t of(const TensorRow& row) const {
    if (row.cut != Cut::kInputLeaves) return 1;
    return row.per == PerUnit::kExpert ? moe_down : attn_out;
  }
  friend bool operator==(ScaleGroups, ScaleGroups) = default;
};

/// One tensor of a store: row-major, cut into pieces, each of them one contiguous extent with a hash of its own.
struct TensorSpec {
  std::string name;                      ///< path in the HDF5 file, e.g. "layers/3/moe/gate"
  TensorRole role = TensorRole::kEmbed;  ///< what the weights are for, or the matrix that the scales are of
  bool is_scales = false;
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;          ///< fastest axis last
  int piece_axes = 0;                       ///< leading axes whose indices number the pieces; 0: one piece
  std::int64_t piece_rows = 1;              ///< indices of the piece axes in one piece (kVocabularyPiece_rows or 1)
  std::array<const char*, 2> axis_names{};  ///< names of the piece axes, for messages: "expert", "eighth"

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

/// Where an int8 store has the scales of a matrix's piece, one a column: in piece `piece` of the tensor of scales, from
/// element `first_elem` of that piece on.
struct ScalesAt {
  std::int64_t piece = 0, first_elem = 0;
};
ScalesAt int8_scales_at(const TensorSpec& weights, const TensorSpec& scales, std::int64_t piece);

/// "(8, 6144, 32768)", for messages.
std::string shape_text(const std::vector<std::int64_t>& shape);

/// "layers/N/" + name: what a layer's tensor, or its scales, is called in the store.
std::string layer_tensor(ModelLayer layer, std::string_view name);

/// The name of the tensor with a matrix's scales: "layers/3/moe/gate_scales".
std::string scales_name(const TensorSpec& matrix);

/// Number of the piece that has an expert's eighth `leaf` in a tensor of PerUnit::kExpert.
constexpr std::int64_t expert_piece(ExpertId expert, std::int64_t leaf) { return expert.value() * kNumLeaves + leaf; }

/// All tensors of a model in the order of the store (docs/store.md): those of kTensorRows that the architecture has, a
/// layer's for each layer. int8: shapes are those of the table, cut as Cut says. bf16: there are no scales. int4: the
/// input axis of a matrix is pairs of inputs (int4x2), and its scales, bf16 in the matrix's shape, have groups of
/// kInt4GroupInputs inputs in place of inputs. Error when a size does not fit 62 bits or the groups are neither 1
/// nor 8.
std::vector<TensorSpec> tensor_inventory(const ModelConfig& config, ScaleGroups groups,
                                         WeightFormat format = WeightFormat::kInt8);

/// How many tensors that is.
std::int64_t num_tensors(const ModelConfig& config, WeightFormat format);

}  // namespace moesaic::io
