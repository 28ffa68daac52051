#pragma once

#include "base/aligned_buffer.hpp"
#include "config/numeric_setting.hpp"
#include "ops/kernels.hpp"

namespace moesaic::moe {

/// Rows (D) on their way to the experts: as they are, or rounded to int8 with one scale a row. All rows that experts
/// get pass through here, those of their own rank too, so the result does not depend on who holds an expert.
class Payload {
 public:
  /// kernels: of the model's mode.
  Payload(std::int64_t width, const ops::Kernels& kernels, DispatchPayload payload)
      : Payload(width, kernels, NumericSetting{kernels.numerics, payload}) {}

  /// Of a row as it travels.
  std::size_t row_bytes() const { return travelling_.row_bytes(); }

  /// n: Input (rows, D). The rows as they travel: n itself, or this object's until the next call.
  const std::byte* encode(const std::byte* n, std::int64_t num_rows);

  /// row: as it travels; to: Input (D), as experts get it. By any thread.
  void decode(const std::byte* row, std::byte* to) const;

 private:
  Payload(std::int64_t width, const ops::Kernels& kernels, const NumericSetting& setting);

  const ops::Kernels& kernels_;
  const ops::Kernels& quantising_;  // the same path's of w8a8
  const bool rounds_;
  const GemmInput input_, travelling_;
  AlignedBuffer encoded_;  // as they travel (rows, D)
};

}  // namespace moesaic::moe
