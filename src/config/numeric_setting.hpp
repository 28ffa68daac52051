#pragma once

#include <string>

#include "config/row_form.hpp"

namespace moesaic {

/// The form in which rows travel to the experts.
enum class DispatchPayload : std::uint8_t {
  kAct,   ///< as the mode holds them: inputs of matrices (config/row_form.hpp)
  kInt8,  ///< quantised as inputs are in w8a8: an experiment, experts compute with what is left of the row
};
inline constexpr DispatchPayload kAllDispatchPayloads[] = {DispatchPayload::kAct, DispatchPayload::kInt8};

constexpr std::string_view name(DispatchPayload payload) { return payload == DispatchPayload::kAct ? "act" : "int8"; }

/// The words that dispatch_payload_from() takes, for help texts.
inline constexpr const char* kDispatchPayloadOptions = "act or int8";

constexpr std::optional<DispatchPayload> dispatch_payload_from(std::string_view text) {
  for (const DispatchPayload payload : kAllDispatchPayloads)
    if (text == name(payload)) return payload;
  return std::nullopt;
}

/// What the bits of a result depend on beside the store and its input: hashes are compared only where this is the same.
struct NumericSetting {
  Numerics numerics = Numerics::kW8A16;
  DispatchPayload payload = DispatchPayload::kAct;

  /// Whether rows on their way to the experts have another form than elsewhere.
  constexpr bool rounds_expert_rows() const {
    return payload == DispatchPayload::kInt8 && input_type(numerics) != DType::kInt8;
  }
  /// The form in which a row (D) travels to attention shards.
  constexpr RowForm row(std::int64_t width) const { return input_row(numerics, width); }
  /// The form in which a row (D) travels to the experts.
  constexpr RowForm expert_row(std::int64_t width) const {
    return {rounds_expert_rows() ? DType::kInt8 : input_type(numerics), width};
  }
  /// "w8a16"; "w8a16, int8 payload" where that is another result.
  std::string text() const { return std::string(name(numerics)) + (rounds_expert_rows() ? ", int8 payload" : ""); }
};

}  // namespace moesaic
