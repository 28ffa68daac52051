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

}  // namespace moesaic
