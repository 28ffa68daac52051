#pragma once

#include <cstddef>
#include <cstdint>

#include "base/aligned_buffer.hpp"
#include "base/bytes.hpp"

/// What drivers do with single rows on the calling thread, the same on all paths.
namespace moesaic::cpu {

/// sum(n) = x(n) + y(n), fp32; sum may be x or y.
inline void add_row(const float* x, const float* y, std::int64_t n, float* sum) {
  for (std::int64_t i = 0; i < n; ++i) sum[i] = x[i] + y[i];
}

/// fp32 (width), of this thread until its next call.
inline float* row_scratch(std::int64_t width) {
  thread_local AlignedBuffer values;
  values.reserve(bytes_of<float>(width));
  return values.as<float>();
}

}  // namespace moesaic::cpu
