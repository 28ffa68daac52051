#include "config/tensor_roles.hpp"

namespace moesaic {

std::int64_t extent(const ModelConfig& config, Axis axis) {
  const std::int64_t extents[] = {
      1, config.vocab_size, config.emb_size, config.attn_size(), config.kv_size(), config.ffn_size, config.num_experts};
  return extents[static_cast<std::size_t>(axis)];
}

std::int64_t num_parts(const ModelConfig& config, const TensorRow& row) {
  if (!row.is_matrix()) return 1;
  return row.cut == Cut::kKvHeads ? config.num_kv_heads : kNumLeaves;
}

TensorShare share_of(const ModelConfig& config, const TensorRow& row, std::int64_t leaves) {
  const std::int64_t inputs = extent(config, row.inputs), columns = extent(config, row.columns);
  if (!row.is_matrix()) return {1, inputs, columns};
  if (row.cut == Cut::kInputLeaves) return {leaves, inputs / kNumLeaves, columns};
  return {1, inputs, columns * leaves / kNumLeaves};
}

std::int64_t matrix_elems(const ModelConfig& config, PerUnit per, std::int64_t leaves) {
  std::int64_t elems = 0;
  for (const TensorRow& row : kTensorRows)
    if (row.is_matrix() && row.per == per && row.present(config.arch))
      elems += share_of(config, row, leaves).num_elems();
  return elems;
}

}  // namespace moesaic
