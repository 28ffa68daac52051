#include "xai/parameters.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace moesaic::converters {
namespace {

struct NamedRole {
  const char* path;
  TensorRole role;
};
/// The parameters in the order of the tree, names sorted: those of the model, and those of a layer.
constexpr NamedRole kOfModel[] = {{"in_out_embed/embeddings", TensorRole::kEmbed},
                                  {"rms_norm/scale", TensorRole::kFinalNorm}};
constexpr NamedRole kOfLayer[] = {{"moe/linear/w", TensorRole::kMoeGate},
                                  {"moe/linear_1/w", TensorRole::kMoeDown},
                                  {"moe/linear_v/w", TensorRole::kMoeUp},
                                  {"multi_head_attention/key/w", TensorRole::kKey},
                                  {"multi_head_attention/linear/w", TensorRole::kAttnOut},
                                  {"multi_head_attention/query/w", TensorRole::kQuery},
                                  {"multi_head_attention/value/w", TensorRole::kValue},
                                  {"rms_norm/scale", TensorRole::kNormAttnIn},
                                  {"rms_norm_1/scale", TensorRole::kNormAttnOut},
                                  {"rms_norm_2/scale", TensorRole::kNormMoeIn},
                                  {"rms_norm_3/scale", TensorRole::kNormMoeOut},
                                  {"router/w", TensorRole::kRouter}};

XaiParameter parameter(const ModelConfig& c, io::ScaleGroups groups, const TensorRow& row) {
  XaiParameter p;
  p.rows = extent(c, row.inputs), p.cols = extent(c, row.columns);
  p.shape = {p.rows, p.cols};
  if (row.is_norm()) p.shape = {p.cols};
  if (row.is_matrix()) p.scales_shape = {groups.of(row), p.cols};
  if (row.per == PerUnit::kExpert) {
    p.matrices = c.num_experts;
    p.shape.insert(p.shape.begin(), p.matrices);
    p.scales_shape.insert(p.scales_shape.begin(), p.matrices);
  }
  if (row.cut != Cut::kInputLeaves) p.column_parts = num_parts(c, row);
  return p;
}

}  // namespace

std::vector<ModelLayer> string_order(std::int64_t num_layers) {
  std::vector<ModelLayer> layers;
  for (const ModelLayer layer : ids<ModelLayer>(num_layers)) layers.push_back(layer);
  std::ranges::sort(layers, {}, [](ModelLayer layer) { return std::to_string(layer.value()); });
  return layers;
}

std::vector<XaiParameter> xai_parameters(const ModelConfig& c, io::ScaleGroups groups) {
  std::vector<XaiParameter> list;
  const auto add = [&](const std::string& folder, const NamedRole& named, const auto& in_store) {
    const TensorRow& row = tensor_row(named.role);
    XaiParameter& p = list.emplace_back(parameter(c, groups, row));
    p.path = folder + named.path;
    p.file = fmt::format("tensor{:05d}_000", list.size() - 1);
    p.weight = in_store(row.name);
    if (row.is_matrix()) p.scales = in_store(row.scales);
  };
  for (const NamedRole& named : kOfModel)
    add("language_model/", named, [](std::string_view name) { return std::string(name); });
  for (const ModelLayer layer : string_order(c.num_layers))
    for (const NamedRole& named : kOfLayer)
      add(fmt::format("transformer/decoder_layer_{}/", layer.value()), named,
          [&](std::string_view name) { return io::layer_tensor(layer, name); });
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
