#include "io/tensor_inventory.hpp"

#include <algorithm>
#include <span>

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

/// The pieces of a large matrix with so many rows each: (parts, rows, columns), for each expert where per says so.
TensorSpec in_pieces(const ModelConfig& c, const TensorRow& row, DType dtype, std::int64_t piece_rows) {
  const char* part = row.cut == Cut::kKvHeads ? "kv head" : "eighth";
  const std::int64_t num = num_parts(c, row), columns = extent(c, row.columns);
  const std::int64_t piece_columns = row.cut == Cut::kInputLeaves ? columns : columns / num;
  if (row.per == PerUnit::kExpert)
    return {"", row.role, false, dtype, {c.num_experts, num, piece_rows, piece_columns}, 2, 1, {"expert", part}};
  return {"", row.role, false, dtype, {num, piece_rows, piece_columns}, 1, 1, {part}};
}

TensorSpec weights_of(const ModelConfig& c, const TensorRow& row, WeightFormat format) {
  const auto [leaves, inputs, columns] = share_of(c, row);
  if (row.is_matrix())
    return in_pieces(c, row, matrix_type(format), format == WeightFormat::kInt4 ? (inputs + 1) / 2 : inputs);
  TensorSpec spec{"", row.role, false, DType::kF32, {inputs, columns}, 0, 1, {}};
  if (row.is_norm()) spec.shape = {columns};
  if (row.cut == Cut::kRows) spec.piece_axes = 1, spec.piece_rows = kVocabularyPiece_rows, spec.axis_names = {"row"};
  return spec;
}

TensorSpec scales_of(const ModelConfig& c, const TensorRow& row, WeightFormat format, ScaleGroups groups) {
  const auto [leaves, inputs, columns] = share_of(c, row);
  TensorSpec spec{"", row.role, true, DType::kF32, {}, 0, 1, {}};
  if (format == WeightFormat::kInt4) {
    spec = in_pieces(c, row, DType::kBf16, int4_groups(inputs));
    spec.is_scales = true;
    return spec;
  }
  if (row.per == PerUnit::kExpert) spec.shape = {c.num_experts}, spec.piece_axes = 1, spec.axis_names = {"expert"};
  if (row.cut == Cut::kInputLeaves) spec.shape.push_back(groups.of(row));
  spec.shape.push_back(columns);
  return spec;
}

bool has_scales(const TensorRow& row, WeightFormat format) { return row.is_matrix() && format != WeightFormat::kBf16; }

/// Appends the tensors of some rows of the table: the weights of neighbouring matrices, then their scales.
void add(std::vector<TensorSpec>& tensors, const ModelConfig& config, ScaleGroups groups, WeightFormat format,
         std::span<const TensorRow> rows, ModelLayer layer) {
  const auto put = [&](TensorSpec spec, const TensorRow& row, std::string_view name) {
    spec.name = row.per == PerUnit::kModel ? std::string(name) : layer_tensor(layer, name);
    check_size(spec);
    tensors.push_back(std::move(spec));
  };
  const auto alike = [](const TensorRow& a, const TensorRow& b) {
    return a.is_matrix() && b.is_matrix() && a.per == b.per;
  };
  for (auto begin = rows.begin(), end = begin; begin != rows.end(); begin = end) {
    while (end != rows.end() && (end == begin || alike(*begin, *end))) ++end;
    const std::span run(begin, end);
    for (const TensorRow& row : run)
      if (row.present(config.arch)) put(weights_of(config, row, format), row, row.name);
    for (const TensorRow& row : run)
      if (row.present(config.arch) && has_scales(row, format))
        put(scales_of(config, row, format, groups), row, row.scales);
  }
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

std::string layer_tensor(ModelLayer layer, std::string_view name) {
  return fmt::format("layers/{}/{}", layer.value(), name);
}

std::string scales_name(const TensorSpec& matrix) {
  const TensorRow& row = tensor_row(matrix.role);
  return matrix.name.substr(0, matrix.name.size() - row.name.size()) + std::string(row.scales);
}

std::vector<TensorSpec> tensor_inventory(const ModelConfig& config, ScaleGroups groups, WeightFormat format) {
  check_groups("attention's output projection", groups.attn_out);
  check_groups("the experts' down projection", groups.moe_down);
  const std::span all(kTensorRows);
  const auto num_outside =
      static_cast<std::size_t>(std::ranges::count(all, PerUnit::kModel, [](const TensorRow& row) { return row.per; }));
  std::vector<TensorSpec> tensors;
  tensors.reserve(static_cast<std::size_t>(num_tensors(config, format)));
  add(tensors, config, groups, format, all.first(num_outside), ModelLayer(0));
  for (const ModelLayer layer : ids<ModelLayer>(config.num_layers))
    add(tensors, config, groups, format, all.subspan(num_outside), layer);
  return tensors;
}

std::int64_t num_tensors(const ModelConfig& config, WeightFormat format) {
  std::int64_t count = 0;
  for (const TensorRow& row : kTensorRows)
    if (row.present(config.arch))
      count += (row.per == PerUnit::kModel ? 1 : config.num_layers) * (has_scales(row, format) ? 2 : 1);
  return count;
}

}  // namespace moesaic::io
