#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace moesaic {

enum class DType : std::uint8_t {
  kF32,
  kBf16,
  kInt8,
  kInt4x2,          ///< two int4 in a byte: a pair of inputs of one column, the even one in the low half
  kSignMagnitude8,  ///< int8 as bit 7 the sign, bits 0 to 6 the magnitude, -128 as -0; in memory only
  kInt16,
};
inline constexpr std::size_t kNumDTypes = 6;

constexpr std::size_t size_bytes(DType type) {
  switch (type) {
    case DType::kF32:
      return 4;
    case DType::kBf16:
    case DType::kInt16:
      return 2;
    case DType::kInt8:
    case DType::kInt4x2:
    case DType::kSignMagnitude8:
      return 1;
  }
  return 0;
}

constexpr const char* name(DType type) {
  switch (type) {
    case DType::kF32:
      return "f32";
    case DType::kBf16:
      return "bf16";
    case DType::kInt8:
      return "int8";
    case DType::kInt4x2:
      return "int4x2";
    case DType::kSignMagnitude8:
      return "sign_magnitude8";
    case DType::kInt16:
      return "int16";
  }
  return "?";
}

/// The upper half of an IEEE binary32.
struct Bf16 {
  std::uint16_t bits = 0;
};

constexpr float to_float(Bf16 x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16); }

/// Round to nearest, ties to even. Subnormal inputs become zero, as vcvtneps2bf16 does; NaN stays NaN (quiet).
constexpr Bf16 to_bf16(float x) {
  const std::uint32_t u = std::bit_cast<std::uint32_t>(x);
  if ((u & 0x7f800000u) == 0) return {static_cast<std::uint16_t>((u >> 16) & 0x8000u)};
  if ((u & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>((u >> 16) | 0x40u)};
  return {static_cast<std::uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16)};
}

}  // namespace moesaic
