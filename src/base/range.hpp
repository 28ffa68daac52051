#pragma once

#include <cstdint>

namespace moesaic {

/// Half-open range [begin, end) of indices.
struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  constexpr std::int64_t size() const { return end - begin; }
  constexpr bool empty() const { return end <= begin; }
  constexpr bool contains(std::int64_t i) const { return i >= begin && i < end; }
  friend constexpr bool operator==(Range, Range) = default;
};

/// Part `index` of [0, n) cut into `parts` contiguous parts whose sizes differ by at most one, larger parts first.
constexpr Range even_part(std::int64_t n, std::int64_t parts, std::int64_t index) {
  const std::int64_t quotient = n / parts, rest = n % parts;
  const std::int64_t begin = index * quotient + (index < rest ? index : rest);
  return {begin, begin + quotient + (index < rest ? 1 : 0)};
}

/// The part that even_part() puts item `item` of [0, n) into.
constexpr std::int64_t even_part_of(std::int64_t n, std::int64_t parts, std::int64_t item) {
  const std::int64_t quotient = n / parts, rest = n % parts, in_larger = rest * (quotient + 1);
  return item < in_larger ? item / (quotient + 1) : rest + (item - in_larger) / quotient;
}

}  // namespace moesaic
