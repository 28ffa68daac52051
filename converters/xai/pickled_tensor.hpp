#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace moesaic::converters {

/// Element types that checkpoints may name. kOther keeps the name for messages.
enum class PickledType : std::uint8_t { kInt8, kFloat32, kBfloat16, kOther };

/// A numpy array inside a pickle: nothing is copied, the payload is a part of the pickle.
struct PickledArray {
  PickledType type = PickledType::kOther;
  std::string type_name;  ///< "int8", "float32", "bfloat16", or as numpy wrote it ("f8")
  std::vector<std::int64_t> shape;
  bool fortran_order = false;  ///< first axis fastest
  bool latin1 = false;         ///< payload is UTF-8 text whose code points are the bytes (protocol 2)
  std::span<const std::byte> payload;

  std::int64_t item_bytes = 0;  ///< of one element
  std::int64_t num_elems() const;
  std::int64_t size_bytes() const { return num_elems() * item_bytes; }
};

/// One parameter as xAI stores it: an array, or a QuantizedWeight8bit.
struct PickledTensor {
  PickledArray weight;
  std::optional<PickledArray> scales;  ///< of a QuantizedWeight8bit
};

}  // namespace moesaic::converters
