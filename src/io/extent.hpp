#pragma once

#include <cstdint>

namespace moesaic::io {

/// Bytes [offset, offset + size) of the file.
struct Extent {
  std::int64_t offset_bytes = 0;
  std::int64_t size_bytes = 0;
  std::int64_t end_bytes() const { return offset_bytes + size_bytes; }
};

}  // namespace moesaic::io
