#pragma once

#include <cstdint>

namespace moesaic {

/// A pseudo-random word for every index (splitmix64).
constexpr std::uint64_t random_word(std::uint64_t index) {
  std::uint64_t z = (index + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

}  // namespace moesaic
