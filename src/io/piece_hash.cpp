#include "io/piece_hash.hpp"

#include <algorithm>

namespace moesaic::io {

void SampledHasher::update(std::span<const std::byte> chunk) {
  const std::int64_t begin = position_bytes_, end = begin + static_cast<std::int64_t>(chunk.size());
  position_bytes_ = end;
  for (std::int64_t sample = begin / kSampleStrideBytes * kSampleStrideBytes; sample < end;
       sample += kSampleStrideBytes) {
    const std::int64_t from = std::max(begin, sample), to = std::min(end, sample + kSampleBytes);
    if (from < to)
      hasher_.update(chunk.subspan(static_cast<std::size_t>(from - begin), static_cast<std::size_t>(to - from)));
  }
}

Hash128 sampled_hash(std::span<const std::byte> piece) {
  SampledHasher hasher;
  hasher.update(piece);
  return hasher.digest();
}

}  // namespace moesaic::io
