#pragma once

#include <fmt/format.h>

#include <cmath>
#include <string>

namespace moesaic {

/// A number rounded to so many digits, never with an exponent: 4232.1 in three is "4230", 0.0000123 is "0.0000123".
inline std::string in_digits(double number, int digits) {
  const double rounded = std::stod(fmt::format("{:.{}g}", number, digits));
  const double size = std::abs(rounded);
  if (size >= std::pow(10, digits - 1)) return fmt::format("{:.0f}", rounded);
  if (size > 0 && size < 1e-4)  // where 'g' takes an exponent
    return fmt::format("{:.{}f}", rounded, digits - 1 - static_cast<int>(std::floor(std::log10(size))));
  return fmt::format("{:.{}g}", rounded, digits);
}

}  // namespace moesaic
