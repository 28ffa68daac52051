#pragma once

#include <cstddef>
#include <cstdint>

namespace moesaic {

inline constexpr std::int64_t kMiB = std::int64_t{1} << 20;

/// Bytes of a cache line, and of the widest vector: what buffers and their parts are aligned to.
inline constexpr std::size_t kAlign_bytes = 64;

/// The least multiple of kAlign_bytes that holds size_bytes.
constexpr std::size_t aligned(std::size_t size_bytes) {
  return (size_bytes + kAlign_bytes - 1) / kAlign_bytes * kAlign_bytes;
}

}  // namespace moesaic
