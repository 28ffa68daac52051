#include "io/tensor_inventory.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace moesaic::io {
namespace {

constexpr std::int64_t kLargestTensor_bytes = std::int64_t{1} << 62;

/// Checked once when the inventory is made; all other arithmetic on sizes relies on it.
void check_size(const TensorSpec& spec) {
  std::int64_t bytes = static_cast<std::int64_t>(size_bytes(spec.dtype));
  for (const auto extent : spec.shape)
    if (__builtin_mul_overflow(bytes, extent, &bytes) || bytes > kLargestTensor_bytes)
      fail("tensor {} would have more than 2^62 bytes: the configuration cannot be right", spec.name);
}

std::int64_t product(const std::vector<std::int64_t>& shape, std::size_t begin, std::size_t end) {
  std::int64_t result = 1;
  for (std::size_t i = begin; i < end; ++i) result *= shape[i];
  return result;
}

std::int64_t piece_indices(const TensorSpec& spec) {
  return product(spec.shape, 0, static_cast<std::size_t>(spec.piece_axes));
}

void check_groups(const char* what, std::int64_t groups) {
  if (groups != 1 && groups != kNumLeaves) fail("{} has scales of {} input groups, expected 1 or 8", what, groups);
}

}  // namespace

std::int64_t TensorSpec::num_elems() const { return product(shape, 0, shape.size()); }

std::int64_t TensorSpec::size_bytes() const {
  return num_elems() * static_cast<std::int64_t>(moesaic::size_bytes(dtype));
}

std::int64_t TensorSpec::num_pieces() const { return (piece_indices(*this) + piece_rows - 1) / piece_rows; }

std::int64_t TensorSpec::piece_bytes() const {
  const std::int64_t row_bytes = size_bytes() / piece_indices(*this);
  return std::min(piece_rows, piece_indices(*this)) * row_bytes;
}

std::int64_t TensorSpec::piece_bytes(std::int64_t piece) const {
  return std::min(piece_bytes(), size_bytes() - piece_offset_bytes(piece));
}

std::string TensorSpec::describe_piece(std::int64_t piece) const {
  if (piece_axes == 0) return "the whole tensor";
  if (piece_rows > 1) {
    const std::int64_t last = std::min((piece + 1) * piece_rows, shape[0]) - 1;
    return fmt::format("rows {} to {}", piece * piece_rows, last);
  }
  if (piece_axes == 1) return fmt::format("{} {}", axis_names[0], piece);
  return fmt::format("{} {}, {} {}", axis_names[0], piece / shape[1], axis_names[1], piece % shape[1]);
}

ScalesAt int8_scales_at(const TensorSpec& weights, const TensorSpec& scales, std::int64_t piece) {
  const std::int64_t pieces_each = weights.num_pieces() / scales.num_pieces(), columns = weights.shape.back();
  const bool shared = scales.num_elems() == scales.num_pieces() * columns;  // by all pieces that it belongs to
  return {piece / pieces_each, shared ? 0 : piece % pieces_each * columns};
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "(";
  for (const std::int64_t extent : shape) text += (text.size() == 1 ? "" : ", ") + std::to_string(extent);
  return text + ")";
}

std::string layer_tensor(std::int64_t layer, std::string_view part) { return fmt::format("layers/{}/{}", layer, part); }

std::vector<TensorSpec> layer_inventory(const ModelConfig& c, ScaleGroups groups, WeightFormat format,
                                        std::int64_t layer) {
  check_groups("attention's output projection", groups.attn_out);
  check_groups("the experts' down projection", groups.moe_down);
  using Shape = std::vector<std::int64_t>;
  using AxisNames = std::array<const char*, 2>;
  const std::int64_t D = c.emb_size, G = c.num_kv_heads, K = c.key_size, E = c.num_experts, F = c.ffn_size;
  const std::int64_t HK = c.attn_size(), GK = c.kv_size();
  constexpr auto kF32 = DType::kF32;

  std::vector<TensorSpec> tensors;
  tensors.reserve(static_cast<std::size_t>(layer_tensors(format)));
  const auto add = [&](std::string_view part, DType dtype, Shape shape, int piece_axes, AxisNames axis_names) {
    tensors.push_back({layer_tensor(layer, part), dtype, std::move(shape), piece_axes, 1, axis_names});
    check_size(tensors.back());
  };
  struct Matrix {
    std::string_view weights, scales;
    Shape pieces;
    std::int64_t inputs, columns;
    AxisNames axis_names;
    Shape int8_scales;
    int int8_scale_axes;
  };
  const auto in_pieces = [](const Matrix& m, std::int64_t rows) {
    Shape shape = m.pieces;
    shape.insert(shape.end(), {rows, m.columns});
    return shape;
  };
  const auto add_matrices = [&](std::initializer_list<Matrix> matrices) {
    const bool int4 = format == WeightFormat::kInt4;
    for (const Matrix& m : matrices)
      add(m.weights, matrix_type(format), in_pieces(m, int4 ? (m.inputs + 1) / 2 : m.inputs),
          static_cast<int>(m.pieces.size()), m.axis_names);
    for (const Matrix& m : matrices) {
      if (format == WeightFormat::kInt8)
        add(m.scales, kF32, m.int8_scales, m.int8_scale_axes,
            m.int8_scale_axes == 0 ? AxisNames{} : AxisNames{m.axis_names[0]});
      if (int4)
        add(m.scales, DType::kBf16, in_pieces(m, int4_groups(m.inputs)), static_cast<int>(m.pieces.size()),
            m.axis_names);
    }
  };
  const AxisNames head{"kv head"}, eighth{"eighth"}, part{"expert", "eighth"};
  add_matrices({{kQuery, kQueryScales, {G}, D, c.q_per_kv() * K, head, {HK}, 0},
                {kKey, kKeyScales, {G}, D, K, head, {GK}, 0},
                {kValue, kValueScales, {G}, D, K, head, {GK}, 0},
                {kAttnOut, kAttnOutScales, {kNumLeaves}, HK / kNumLeaves, D, eighth, {groups.attn_out, D}, 0}});
  add_matrices({{kMoeGate, kMoeGateScales, {E, kNumLeaves}, D, F / kNumLeaves, part, {E, F}, 1},
                {kMoeUp, kMoeUpScales, {E, kNumLeaves}, D, F / kNumLeaves, part, {E, F}, 1},
                {kMoeDown, kMoeDownScales, {E, kNumLeaves}, F / kNumLeaves, D, part, {E, groups.moe_down, D}, 1}});
  add(kRouter, kF32, {D, E}, 0, {});
  for (const auto norm : {kNormAttnIn, kNormAttnOut, kNormMoeIn, kNormMoeOut}) add(norm, kF32, {D}, 0, {});
  return tensors;
}

std::vector<TensorSpec> tensor_inventory(const ModelConfig& c, ScaleGroups groups, WeightFormat format) {
  std::vector<TensorSpec> tensors;
  tensors.reserve(static_cast<std::size_t>(kModelTensors + c.num_layers * layer_tensors(format)));
  tensors.push_back({std::string(kEmbed), DType::kF32, {c.vocab_size, c.emb_size}, 1, kEmbedPieceRows, {"row"}});
  tensors.push_back({std::string(kFinalNorm), DType::kF32, {c.emb_size}, 0, 1, {}});
  for (const auto& spec : tensors) check_size(spec);
  for (std::int64_t layer = 0; layer < c.num_layers; ++layer)
    for (auto& spec : layer_inventory(c, groups, format, layer)) tensors.push_back(std::move(spec));
  return tensors;
}

}  // namespace moesaic::io
