#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/dtypes.hpp"

namespace moesaic {

/// How numbers are held and rounded between operations (docs/numerics.md).
enum class Numerics : std::uint8_t {
  kF32,    ///< int8 * scale exactly, fp32 activations; the definition that everything is tested against
  kW8A16,  ///< int8 weights, bf16 activations, fp32 accumulation and residual stream
};

constexpr std::string_view name(Numerics numerics) { return numerics == Numerics::kF32 ? "f32" : "w8a16"; }

constexpr std::optional<Numerics> numerics_from(std::string_view text) {
  if (text == "f32") return Numerics::kF32;
  if (text == "w8a16") return Numerics::kW8A16;
  return std::nullopt;
}

/// Type of GEMM inputs, q, k, v, the KV cache and attention's p, and of the embedding table in memory.
constexpr DType activation_type(Numerics numerics) {
  return numerics == Numerics::kF32 ? DType::kF32 : DType::kBf16;
}

}  // namespace moesaic
