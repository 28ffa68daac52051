#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/dtypes.hpp"

namespace moesaic {

/// How numbers are held and rounded between operations (docs/numerics.md).
enum class Numerics : std::uint8_t {
  kF32,     ///< weights exactly as stored, fp32 activations; the definition that everything is tested against
  kW8A16,   ///< int8 weights, bf16 activations, fp32 accumulation and residual stream
  kW8A8,    ///< w8a16, but the inputs of int8 weights are quantised to int8; int32 accumulation
  kW16A16,  ///< w8a16 with bf16 weights
  kW4A16,   ///< w8a16 with int4 weights
  kW8I16,   ///< int8 weights, int16 activations with scales; every long sum is an exact integer
  kW4I16,   ///< w8i16 with int4 weights
};
inline constexpr Numerics kAllNumerics[] = {Numerics::kF32,   Numerics::kW8A16, Numerics::kW8A8, Numerics::kW16A16,
                                            Numerics::kW4A16, Numerics::kW8I16, Numerics::kW4I16};

constexpr std::string_view name(Numerics numerics) {
  constexpr std::string_view kNames[] = {"f32", "w8a16", "w8a8", "w16a16", "w4a16", "w8i16", "w4i16"};
  return kNames[static_cast<std::size_t>(numerics)];
}

/// The words that numerics_from() takes, for help texts.
inline constexpr const char* kNumericsOptions = "f32, w8i16, w4i16, w8a16, w8a8, w16a16 or w4a16";

constexpr std::optional<Numerics> numerics_from(std::string_view text) {
  for (const Numerics numerics : kAllNumerics)
    if (text == name(numerics)) return numerics;
  return std::nullopt;
}

/// Counts the changes of the arithmetic that changed committed hashes: results of different numbers must not be mixed.
/// 2: the router adds up in 16 lanes.
inline constexpr int kArithmeticVersion = 2;

/// Type of q, k, v, the KV cache and attention's p, of complete expert outputs, of the embedding table in memory and
/// its inputs as head.
constexpr DType activation_type(Numerics numerics) {
  if (numerics == Numerics::kF32) return DType::kF32;
  const bool integers = numerics == Numerics::kW8I16 || numerics == Numerics::kW4I16;
  return integers ? DType::kInt16 : DType::kBf16;
}

/// Type of the inputs of the layers' matrices.
constexpr DType input_type(Numerics numerics) {
  return numerics == Numerics::kW8A8 ? DType::kInt8 : activation_type(numerics);
}

}  // namespace moesaic
