#include "measure/row_values.hpp"

#include <cstring>

namespace moesaic::measure {
namespace {

/// The i-th element of a row of T.
template <class T>
T element(const std::byte* row, std::int64_t i) {
  T value;
  std::memcpy(&value, row + static_cast<std::size_t>(i) * sizeof(T), sizeof(T));
  return value;
}

float integer(const RowForm& form, const std::byte* row, std::int64_t i) {
  return form.type == DType::kInt8 ? element<std::int8_t>(row, i) : element<std::int16_t>(row, i);
}

}  // namespace

void row_values(const RowForm& form, const std::byte* row, float* x) {
  for (std::int64_t i = 0; i < form.width; ++i)
    if (form.quantised())
      x[i] = integer(form, row, i) * element<LeafScale>(row + form.scales_offset_bytes(), i / form.part_size()).scale;
    else
      x[i] = form.type == DType::kF32 ? element<float>(row, i) : to_float(element<Bf16>(row, i));
}

}  // namespace moesaic::measure
