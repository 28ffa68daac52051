#pragma once

#include <cstddef>
#include <cstdint>

#include "base/dtypes.hpp"

namespace moesaic {

/// Key positions a block of attention has; a page of the KV cache holds one block.
inline constexpr std::int64_t kBlockKeys = 64;

/// The largest K with which q . k is a sum of integers that fit: 127 * 32639 * 512 < 2^31.
inline constexpr std::int64_t kMostIntegerKeySize = 512;

/// Shape of a KV page: the keys and values of kBlockKeys positions of one kv head, in an order private to the kernels;
/// behind integers an fp32 scale for each position's key, then for each one's value.
struct KvPageShape {
  DType type = DType::kBf16;
  std::int64_t key_size = 0;  ///< K

  /// Values are padded to whole vectors of 16.
  constexpr std::int64_t value_stride() const { return (key_size + 15) / 16 * 16; }
  constexpr std::int64_t keys_elems() const { return kBlockKeys * key_size; }
  constexpr std::int64_t values_elems() const { return kBlockKeys * value_stride(); }
  constexpr bool has_scales() const { return type == DType::kInt16; }
  constexpr std::size_t values_offset_bytes() const {
    return static_cast<std::size_t>(keys_elems()) * size_bytes(type);
  }
  constexpr std::size_t scales_offset_bytes() const {
    return static_cast<std::size_t>(keys_elems() + values_elems()) * size_bytes(type);
  }
  constexpr std::size_t page_bytes() const {
    const std::size_t scales_bytes = has_scales() ? 2 * kBlockKeys * sizeof(float) : 0;
    return (scales_offset_bytes() + scales_bytes + 63) / 64 * 64;
  }
};

}  // namespace moesaic
