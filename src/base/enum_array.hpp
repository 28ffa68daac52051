#pragma once

#include <array>
#include <cstddef>

namespace moesaic {

/// An array with an element for each of the `size` values of an enum, which index it; loops over all may count.
template <class Enum, class T, std::size_t size>
struct EnumArray : std::array<T, size> {
  using std::array<T, size>::operator[];
  constexpr T& operator[](Enum value) { return (*this)[static_cast<std::size_t>(value)]; }
  constexpr const T& operator[](Enum value) const { return (*this)[static_cast<std::size_t>(value)]; }
};

}  // namespace moesaic
