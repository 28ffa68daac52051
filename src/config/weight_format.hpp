#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/dtypes.hpp"
#include "config/numerics.hpp"

namespace moesaic {

/// How a store keeps a model's large matrices (attention's and the experts'): all of them alike.
enum class WeightFormat : std::uint8_t {
  kInt8,  ///< int8 with an fp32 scale a column, and for some matrices an eighth of the inputs; as xAI published them
  kBf16,  ///< bf16(int8 * scale)
  kInt4,  ///< int4 with a bf16 scale for each column and kInt4GroupInputs inputs
};
inline constexpr WeightFormat kAllWeightFormats[] = {WeightFormat::kInt8, WeightFormat::kBf16, WeightFormat::kInt4};

/// Inputs of a matrix that share an int4 scale, counted from a leaf's begin; the last group of a leaf may have fewer.
inline constexpr std::int64_t kInt4GroupInputs = 64;
constexpr std::int64_t int4_groups(std::int64_t inputs) { return (inputs + kInt4GroupInputs - 1) / kInt4GroupInputs; }

constexpr std::string_view name(WeightFormat format) {
  constexpr std::string_view kNames[] = {"int8", "bf16", "int4"};
  return kNames[static_cast<std::size_t>(format)];
}

/// The words that weight_format_from() takes, for help texts.
inline constexpr const char* kWeightFormatOptions = "int8, bf16 or int4";

constexpr std::optional<WeightFormat> weight_format_from(std::string_view text) {
  for (const WeightFormat format : kAllWeightFormats)
    if (text == name(format)) return format;
  return std::nullopt;
}

constexpr DType matrix_type(WeightFormat format) {
  constexpr DType kTypes[] = {DType::kInt8, DType::kBf16, DType::kInt4x2};
  return kTypes[static_cast<std::size_t>(format)];
}

/// How the matrices of a format lie in memory for a mode: what is turned into bf16 by tables over the magnitude has it
/// at hand.
constexpr DType packed_type(WeightFormat format, Numerics numerics) {
  return numerics == Numerics::kW8A16 ? DType::kSignMagnitude8 : matrix_type(format);
}

/// The format whose matrices a mode multiplies with; nullopt: any (f32).
constexpr std::optional<WeightFormat> format_of(Numerics numerics) {
  if (numerics == Numerics::kF32) return std::nullopt;
  if (numerics == Numerics::kW16A16) return WeightFormat::kBf16;
  const bool int4 = numerics == Numerics::kW4A16 || numerics == Numerics::kW4I16;
  return int4 ? WeightFormat::kInt4 : WeightFormat::kInt8;
}

/// The mode that is meant when none is named: bf16 activations.
constexpr Numerics default_numerics(WeightFormat format) {
  constexpr Numerics kModes[] = {Numerics::kW8A16, Numerics::kW16A16, Numerics::kW4A16};
  return kModes[static_cast<std::size_t>(format)];
}

/// The mode asked for, or the default. Error when it does not fit the format; `weights_are` says where that comes from
/// and stands before its name: "the weights of FILE are".
Numerics numerics_for(WeightFormat format, std::optional<Numerics> asked, const std::string& weights_are);

}  // namespace moesaic
