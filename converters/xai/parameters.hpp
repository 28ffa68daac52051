#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/tensor_inventory.hpp"
#include "xai/pickle.hpp"

namespace moesaic::converters {

/// A parameter of xAI's tree: `matrices` of (rows, cols), all of them [in, out], and where it goes in the store.
/// Every matrix is cut into `column_parts` of cols/column_parts columns; the store has (matrices, parts, rows,
/// cols/parts).
struct XaiParameter {
  std::string path;                 ///< "transformer/decoder_layer_0/moe/linear/w"
  std::string file;                 ///< "tensor00002_000"
  std::vector<std::int64_t> shape;  ///< as xAI has it
  std::int64_t matrices = 1, rows = 1, cols = 1;
  std::int64_t column_parts = 1;
  std::vector<std::int64_t> scales_shape;  ///< empty: float32 without scales
  std::string weight;                      ///< tensor of the store
  std::string scales;                      ///< tensor of the store, or empty

  std::int64_t weight_bytes() const { return matrices * rows * cols * (scales.empty() ? 4 : 1); }
};

/// The parameters in the order of the checkpoint's files: the tree flattened with its names sorted, so that layers come
/// in string order (0, 1, 10, 11, ..., 2, 20, ...).
std::vector<XaiParameter> xai_parameters(const ModelConfig& config, io::ScaleGroups groups);

/// Layer numbers in that order.
std::vector<ModelLayer> string_order(std::int64_t num_layers);

/// Error naming file, parameter, expected and found when type or shape differ from what the configuration asks for.
void check_tensor(const XaiParameter& parameter, const PickledTensor& tensor, const std::string& file_path);

}  // namespace moesaic::converters
