#pragma once

#include <cstddef>
#include <cstdint>

#include "base/dtypes.hpp"

namespace moesaic {

/// Key positions a block of attention has; a page of the KV cache holds one block.
inline constexpr std::int64_t kBlockKeys = 64;

/// Shape of a KV page: the keys and values of kBlockKeys positions of one kv head, in an order private to the kernels.
struct KvPageShape {
  DType type = DType::kBf16;
  std::int64_t key_size = 0;  ///< K

  /// Values are padded to whole vectors of 16.
  constexpr std::int64_t value_stride() const { return (key_size + 15) / 16 * 16; }
  constexpr std::int64_t keys_elems() const { return kBlockKeys * key_size; }
  constexpr std::int64_t values_elems() const { return kBlockKeys * value_stride(); }
  constexpr std::size_t page_bytes() const {
    return (static_cast<std::size_t>(keys_elems() + values_elems()) * size_bytes(type) + 63) / 64 * 64;
  }
};

}  // namespace moesaic
