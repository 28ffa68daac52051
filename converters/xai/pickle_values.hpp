#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "xai/pickled_tensor.hpp"

/// What the pickle machine's stack holds. Values refer to each other by their index in one list, so that no nesting,
/// however deep, is walked recursively, not even when it is freed.
namespace moesaic::converters::pickled {

using ValueIdx = std::uint32_t;

/// The globals that xAI's files use, and no others.
enum class Global : std::uint8_t {
  kReconstruct,      // numpy.core.multiarray._reconstruct
  kFromBuffer,       // numpy.core.numeric._frombuffer
  kNdarray,          // numpy.ndarray
  kDtype,            // numpy.dtype
  kBfloat16,         // ml_dtypes.bfloat16
  kEncode,           // _codecs.encode
  kBytes,            // builtins.bytes, for empty ones
  kQuantizedWeight,  // QuantizedWeight8bit
};

struct None {};
struct Mark {};
struct Bytes {
  std::span<const std::byte> bytes;
  bool latin1 = false;
};
struct Text {
  std::string_view utf8;
};
struct Tuple {
  std::vector<ValueIdx> items;
};
struct Dict {
  std::vector<std::pair<ValueIdx, ValueIdx>> items;
};
struct Dtype {
  PickledType type = PickledType::kOther;
  std::string_view name;
  std::int64_t item_bytes = 0;
  char order = '=';
};
struct Array {
  bool complete = false;
  PickledArray array;
};
struct QuantizedWeight {
  bool complete = false;
  ValueIdx weight = 0, scales = 0;
};

using Value = std::variant<None, Mark, bool, std::int64_t, double, Bytes, Text, Tuple, Dict, Global, Dtype, Array,
                           QuantizedWeight>;

}  // namespace moesaic::converters::pickled
