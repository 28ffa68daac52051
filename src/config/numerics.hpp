#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/dtypes.hpp"

namespace moesaic {

/// How numbers are held and rounded between operations (docs/numerics.md).
enum class Numerics : std::uint8_t {
  kF32,    ///< int8 * scale exactly, fp32 activations; the definition that everything is tested against
  kW8A16,  ///< int8 weights, bf16 activations, fp32 accumulation and residual stream
  kW8A8,   ///< w8a16, but the inputs of int8 weights are quantised to int8; int32 accumulation
};

constexpr std::string_view name(Numerics numerics) {
  constexpr std::string_view kNames[] = {"f32", "w8a16", "w8a8"};
  return kNames[static_cast<std::size_t>(numerics)];
}

/// What numerics_from takes, for help texts.
inline constexpr const char* kNumericsOptions = "f32, w8a16 or w8a8";

constexpr std::optional<Numerics> numerics_from(std::string_view text) {
  if (text == "f32") return Numerics::kF32;
  if (text == "w8a16") return Numerics::kW8A16;
  if (text == "w8a8") return Numerics::kW8A8;
  return std::nullopt;
}

/// Type of q, k, v, the KV cache and attention's p, of complete expert outputs, of the embedding table in memory and
/// its inputs as head; in f32 and w8a16 also of the inputs of int8 weights (config/gemm_input.hpp).
constexpr DType activation_type(Numerics numerics) { return numerics == Numerics::kF32 ? DType::kF32 : DType::kBf16; }

}  // namespace moesaic
