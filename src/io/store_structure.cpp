#include "io/store_structure.hpp"

#include <algorithm>

namespace moesaic::io {

Hash128 structure_hash(const File& file, const StoreIndex& index) {
  constexpr std::int64_t kChunkBytes = 1 << 20;
  std::vector<std::byte> chunk(static_cast<std::size_t>(kChunkBytes));
  Hasher hasher;
  for (const Extent& gap : index.gaps(file.path())) {
    for (std::int64_t at = gap.offset_bytes; at < gap.end_bytes(); at += kChunkBytes) {
      const auto part = std::span(chunk).first(static_cast<std::size_t>(std::min(kChunkBytes, gap.end_bytes() - at)));
      file.read_at(at, part);
      hasher.update(part);
    }
  }
  return hasher.digest();
}

}  // namespace moesaic::io
