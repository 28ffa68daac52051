#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace moesaic::measure {

/// A matrix (rows, columns) of elements of elem_bytes (2 or 4), to be compared bit by bit.
struct BitMatrix {
  const void* data = nullptr;
  std::int64_t num_columns = 0;
  std::size_t elem_bytes = sizeof(float);
};

/// The first element of `found` (num_rows rows) that is not, bit for bit, the one of row `row %
/// num_expected_rows` of `expected`, with both; nullopt: all are.
std::optional<std::string> first_wrong(const BitMatrix& expected, std::int64_t num_expected_rows,
                                       const BitMatrix& found, std::int64_t num_rows);

}  // namespace moesaic::measure
