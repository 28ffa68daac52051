#pragma once

#include <cstdint>
#include <span>

#include "base/hash.hpp"

namespace moesaic::io {

/// The sampled hash covers the first kSampleBytes of each kSampleStrideBytes of a piece.
inline constexpr std::int64_t kSampleBytes = 4 << 10;
inline constexpr std::int64_t kSampleStrideBytes = 64 << 10;

/// XXH3-128 over the samples of a piece whose bytes come in ascending chunks.
class SampledHasher {
 public:
  void update(std::span<const std::byte> chunk);
  Hash128 digest() const { return hasher_.digest(); }

 private:
  Hasher hasher_;
  std::int64_t position_bytes_ = 0;
};

Hash128 sampled_hash(std::span<const std::byte> piece);

}  // namespace moesaic::io
