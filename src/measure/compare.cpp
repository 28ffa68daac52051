#include "measure/compare.hpp"

#include <cstring>

#include "base/bytes.hpp"
#include "base/error.hpp"

namespace moesaic::measure {
namespace {

const std::byte* element(const BitMatrix& matrix, std::int64_t row, std::int64_t column) {
  return static_cast<const std::byte*>(matrix.data) + bytes_of(row * matrix.num_columns + column, matrix.elem_bytes);
}

std::uint32_t bits(const BitMatrix& matrix, std::int64_t row, std::int64_t column) {
  std::uint32_t value = 0;  // little-endian
  std::memcpy(&value, element(matrix, row, column), matrix.elem_bytes);
  return value;
}

}  // namespace

std::optional<std::string> first_wrong(const BitMatrix& expected, std::int64_t num_expected_rows,
                                       const BitMatrix& found, std::int64_t num_rows) {
  MOESAIC_CHECK(expected.num_columns == found.num_columns && expected.elem_bytes == found.elem_bytes,
                "{} and {} columns of {} and {} bytes", expected.num_columns, found.num_columns, expected.elem_bytes,
                found.elem_bytes);
  const std::size_t row_bytes = bytes_of(found.num_columns, found.elem_bytes);
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const std::int64_t expected_row = row % num_expected_rows;
    if (std::memcmp(element(found, row, 0), element(expected, expected_row, 0), row_bytes) == 0) continue;
    for (std::int64_t column = 0; column < found.num_columns; ++column) {
      const std::uint32_t is = bits(found, row, column), should = bits(expected, expected_row, column);
      if (is != should) return fmt::format("row {} column {}: bits {:#x}, expected {:#x}", row, column, is, should);
    }
  }
  return std::nullopt;
}

}  // namespace moesaic::measure
