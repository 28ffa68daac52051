#pragma once

#include <cstddef>
#include <cstdint>

namespace moesaic {

/// Bytes of so many rows (or panels, steps, ...) of each_bytes; as many lie before the one of that number.
constexpr std::size_t bytes_of(std::int64_t count, std::size_t each_bytes) {
  return static_cast<std::size_t>(count) * each_bytes;
}
template <class T>
constexpr std::size_t bytes_of(std::int64_t count) {
  return bytes_of(count, sizeof(T));
}

}  // namespace moesaic
