#include "xai/parameters.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace moesaic::converters {
namespace {

/// The twelve parameters of a layer, names sorted, as the tree has them.
void add_layer(std::vector<XaiParameter>& list, const ModelConfig& c, io::ScaleGroups groups, std::int64_t layer) {
  const std::int64_t D = c.emb_size, HK = c.attn_size(), GK = c.kv_size(), G = c.num_kv_heads, E = c.num_experts,
                     F = c.ffn_size;
  const std::string path = fmt::format("transformer/decoder_layer_{}/", layer);
  const auto store = [&](std::string_view part) { return io::layer_tensor(layer, part); };

  const auto experts = [&](const char* name, std::int64_t rows, std::int64_t cols, std::int64_t column_parts,
                           std::int64_t num_groups, std::string_view weight, std::string_view scales) {
    list.push_back({path + name,
                    "",
                    {E, rows, cols},
                    E,
                    rows,
                    cols,
                    column_parts,
                    {E, num_groups, cols},
                    store(weight),
                    store(scales)});
  };
  const auto projection = [&](const char* name, std::int64_t rows, std::int64_t cols, std::int64_t column_parts,
                              std::int64_t num_groups, std::string_view weight, std::string_view scales) {
    list.push_back(
        {path + name, "", {rows, cols}, 1, rows, cols, column_parts, {num_groups, cols}, store(weight), store(scales)});
  };
  const auto norm = [&](const char* name, std::string_view weight) {
    list.push_back({path + name, "", {D}, 1, 1, D, 1, {}, store(weight), ""});
  };
  experts("moe/linear/w", D, F, kNumLeaves, 1, io::kMoeGate, io::kMoeGateScales);
  experts("moe/linear_1/w", F, D, 1, groups.moe_down, io::kMoeDown, io::kMoeDownScales);
  experts("moe/linear_v/w", D, F, kNumLeaves, 1, io::kMoeUp, io::kMoeUpScales);
  projection("multi_head_attention/key/w", D, GK, G, 1, io::kKey, io::kKeyScales);
  projection("multi_head_attention/linear/w", HK, D, 1, groups.attn_out, io::kAttnOut, io::kAttnOutScales);
  projection("multi_head_attention/query/w", D, HK, G, 1, io::kQuery, io::kQueryScales);
  projection("multi_head_attention/value/w", D, GK, G, 1, io::kValue, io::kValueScales);
  norm("rms_norm/scale", io::kNormAttnIn);
  norm("rms_norm_1/scale", io::kNormAttnOut);
  norm("rms_norm_2/scale", io::kNormMoeIn);
  norm("rms_norm_3/scale", io::kNormMoeOut);
  list.push_back({path + "router/w", "", {D, E}, 1, D, E, 1, {}, store(io::kRouter), ""});
}

}  // namespace

std::vector<std::int64_t> string_order(std::int64_t num_layers) {
  std::vector<std::int64_t> layers(static_cast<std::size_t>(num_layers));
  for (std::size_t i = 0; i < layers.size(); ++i) layers[i] = static_cast<std::int64_t>(i);
  std::ranges::sort(layers, {}, [](std::int64_t layer) { return std::to_string(layer); });
  return layers;
}

std::vector<XaiParameter> xai_parameters(const ModelConfig& c, io::ScaleGroups groups) {
  const std::int64_t V = c.vocab_size, D = c.emb_size;
  std::vector<XaiParameter> list;
  list.push_back({"language_model/in_out_embed/embeddings", "", {V, D}, 1, V, D, 1, {}, std::string(io::kEmbed), ""});
  list.push_back({"language_model/rms_norm/scale", "", {D}, 1, 1, D, 1, {}, std::string(io::kFinalNorm), ""});
  for (const auto layer : string_order(c.num_layers)) add_layer(list, c, groups, layer);
  for (std::size_t i = 0; i < list.size(); ++i) list[i].file = fmt::format("tensor{:05d}_000", i);
  return list;
}

void check_tensor(const XaiParameter& parameter, const PickledTensor& tensor, const std::string& file_path) {
  const bool quantized = !parameter.scales.empty();
  const auto wrong = [&](const char* what, const std::string& found, const std::string& expected) {
    fail("{} ({}): {} is {}, expected {}", file_path, parameter.path, what, found, expected);
  };
  if (quantized != tensor.scales.has_value())
    wrong("the parameter", tensor.scales ? "a QuantizedWeight8bit" : "an array of " + tensor.weight.type_name,
          quantized ? "a QuantizedWeight8bit" : "an array of float32");
  const PickledType type = quantized ? PickledType::kInt8 : PickledType::kFloat32;
  if (tensor.weight.type != type) wrong("its type", tensor.weight.type_name, quantized ? "int8" : "float32");
  if (tensor.weight.shape != parameter.shape)
    wrong("its shape", io::shape_text(tensor.weight.shape), io::shape_text(parameter.shape) + " by the configuration");
  if (!quantized) return;
  if (tensor.scales->type != PickledType::kBfloat16 && tensor.scales->type != PickledType::kFloat32)
    wrong("the type of its scales", tensor.scales->type_name, "bfloat16 or float32");
  if (tensor.scales->shape != parameter.scales_shape)
    wrong("the shape of its scales", io::shape_text(tensor.scales->shape), io::shape_text(parameter.scales_shape));
}

}  // namespace moesaic::converters
