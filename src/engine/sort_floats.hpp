#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moesaic {

/// Buffers of the functions below, kept from call to call so that nothing is allocated.
struct SortBuffers {
  std::vector<std::uint32_t> keys, spare;
  std::vector<float> floats;
};

/// Sorts finite numbers in ascending order; -0 becomes +0.
void sort_ascending(std::vector<float>& values, SortBuffers& buffers);

/// The k-th largest of finite numbers, 1 <= k <= size.
float kth_largest(const std::vector<float>& values, std::size_t k, SortBuffers& buffers);

}  // namespace moesaic
