#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/aligned_buffer.hpp"
#include "base/bytes.hpp"
#include "path.hpp"

/// What drivers do with single rows on the calling thread, the same on all paths.
namespace moesaic::cpu {

/// sum(n) = x(n) + y(n), fp32; sum may be x or y.
inline void add_row(const float* x, const float* y, std::int64_t n, float* sum) {
  for (std::int64_t i = 0; i < n; ++i) sum[i] = x[i] + y[i];
}

/// A row of a form in memory, read and written by the form's codec.
class CodedRow {
 public:
  CodedRow(const Codec& codec, const RowForm& form, std::byte* data) : codec_(codec), form_(form), data_(data) {}
  /// A row that is only read.
  CodedRow(const Codec& codec, const RowForm& form, const std::byte* data)
      : CodedRow(codec, form, const_cast<std::byte*>(data)) {}

  /// The row = x(width).
  void encode(const float* x) const {
    for_each_part(
        [&](std::int64_t first, std::int64_t n, std::byte* y, LeafScale* s) { codec_.encode(x + first, n, y, s); });
    if (!form_.quantised()) return;
    const std::size_t end = bytes_of(form_.width, size_bytes(form_.type));
    std::memset(data_ + end, 0, form_.scales_offset_bytes() - end);
  }
  /// x(width) = the row * factor.
  void decode(float factor, float* x) const {
    for_each_part([&](std::int64_t first, std::int64_t n, std::byte* y, LeafScale* s) {
      codec_.decode(y, s, n, factor, x + first);
    });
  }
  /// x(width) += the row * factor.
  void add(float factor, float* x) const {
    for_each_part([&](std::int64_t first, std::int64_t n, std::byte* y, LeafScale* s) {
      codec_.add(y, s, n, factor, x + first);
    });
  }

 private:
  template <class Body>
  void for_each_part(const Body& body) const {
    if (!form_.quantised()) return body(0, form_.width, data_, nullptr);
    auto* const scales = reinterpret_cast<LeafScale*>(data_ + form_.scales_offset_bytes());
    const std::int64_t size = form_.part_size();
    for (std::int64_t part = 0; part < form_.num_parts; ++part)
      body(part * size, size, data_ + static_cast<std::size_t>(part * size) * size_bytes(form_.type), scales + part);
  }

  const Codec& codec_;
  RowForm form_;
  std::byte* data_;
};

/// fp32 (width), of this thread until its next call.
inline float* row_scratch(std::int64_t width) {
  thread_local AlignedBuffer values;
  values.reserve(bytes_of<float>(width));
  return values.as<float>();
}

}  // namespace moesaic::cpu
