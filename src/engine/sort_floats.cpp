#include "engine/sort_floats.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>

namespace moesaic {
namespace {

constexpr std::size_t kFewElems = 1024;  // up to here std::sort is as fast
constexpr std::uint32_t kSignBit = 0x80000000u;

/// Unsigned numbers in the order of the floats.
std::uint32_t key_of(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value + 0.0f);  // -0 becomes +0
  return bits & kSignBit ? ~bits : bits | kSignBit;
}
float value_of(std::uint32_t key) { return std::bit_cast<float>(key & kSignBit ? key ^ kSignBit : ~key); }

/// The digits of a key, lowest first: 11, 11 and 10 bits.
constexpr std::size_t kNumDigits = 3, kRadix = 2048;
constexpr std::size_t digit(std::uint32_t key, std::size_t place) { return key >> (11 * place) & (kRadix - 1); }
using Counts = std::array<std::uint32_t, kRadix>;

/// One stable pass of a least-significant-digit radix sort.
void scatter(const std::vector<std::uint32_t>& from, std::vector<std::uint32_t>& to, std::size_t place,
             const Counts& counts) {
  Counts next;
  std::uint32_t psum_elems = 0;
  for (std::size_t d = 0; d < kRadix; ++d) {
    next[d] = psum_elems;
    psum_elems += counts[d];
  }
  for (const std::uint32_t key : from) to[next[digit(key, place)]++] = key;
}

}  // namespace

void sort_ascending(std::vector<float>& values, SortBuffers& buffers) {
  if (values.size() <= kFewElems) {
    for (float& value : values) value += 0.0f;
    return std::sort(values.begin(), values.end());
  }
  buffers.keys.resize(values.size());
  buffers.spare.resize(values.size());
  std::array<Counts, kNumDigits> counts{};
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint32_t key = buffers.keys[i] = key_of(values[i]);
    for (std::size_t place = 0; place < kNumDigits; ++place) ++counts[place][digit(key, place)];
  }
  for (std::size_t place = 0; place < kNumDigits; ++place) {
    scatter(buffers.keys, buffers.spare, place, counts[place]);
    std::swap(buffers.keys, buffers.spare);
  }
  std::transform(buffers.keys.begin(), buffers.keys.end(), values.begin(), value_of);
}

float kth_largest(const std::vector<float>& values, std::size_t k, SortBuffers& buffers) {
  // The highest digit tells which few can be it.
  Counts counts{};
  for (const float value : values) ++counts[digit(key_of(value), kNumDigits - 1)];
  std::size_t bucket = kRadix, num_above = 0;
  while (num_above + counts[--bucket] < k) num_above += counts[bucket];
  auto& few = buffers.floats;
  few.clear();
  for (const float value : values)
    if (digit(key_of(value), kNumDigits - 1) == bucket) few.push_back(value);
  const auto nth = few.begin() + static_cast<std::ptrdiff_t>(k - num_above - 1);
  std::nth_element(few.begin(), nth, few.end(), std::greater<>());
  return *nth;
}

}  // namespace moesaic
