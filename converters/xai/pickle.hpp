#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
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

/// Reads one parameter from a pickle of protocol 2 to 5. Only the globals that such files use are known, by name: any
/// other is an Error that names it, and nothing of it runs. Memory is bounded by the number of opcodes, never by a
/// declared length. Error (truncated, malformed, forbidden, unsupported) begins with `source`.
PickledTensor read_pickle(std::span<const std::byte> bytes, const std::string& source);

/// The payload's bytes; Latin-1 text is decoded into `storage`, and `consumed` is told, part by part, what of the text
/// has been read.
std::span<const std::byte> payload_bytes(const PickledArray& array, std::vector<std::byte>& storage,
                                         const std::string& source,
                                         const std::function<void(std::span<const std::byte>)>& consumed = {});

}  // namespace moesaic::converters
