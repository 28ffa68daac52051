#pragma once

#include <emmintrin.h>

#include <cstring>

/// Stores that pass the caches by: of what a loader writes, nothing is read again soon, and a line that is written
/// whole need not be fetched first.
namespace moesaic::cpu {

/// `count` vectors of 16 bytes to `to`, which is aligned to 16 bytes. Together they should be whole cache lines.
template <class Vector>
inline void stream_store(const Vector* from, int count, void* to) {
  static_assert(sizeof(Vector) == sizeof(__m128i));
  for (int i = 0; i < count; ++i) {
    __m128i value;
    std::memcpy(&value, from + i, sizeof value);
    _mm_stream_si128(static_cast<__m128i*>(to) + i, value);
  }
}

/// To be called once after a thread's last stream_store: another thread that learns of them sees them.
inline void finish_stream_stores() { _mm_sfence(); }

}  // namespace moesaic::cpu
