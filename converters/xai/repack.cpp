#include "xai/repack.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/dtypes.hpp"
#include "base/error.hpp"

namespace moesaic::converters {
namespace {

constexpr std::int64_t kSlabBytes = 64 << 20;

/// Where element (matrix, row, col) lies in the source, in elements.
struct Strides {
  std::int64_t matrix, row, col;
};

Strides strides_of(const XaiParameter& p, bool fortran_order) {
  if (!fortran_order) return {p.rows * p.cols, p.cols, 1};
  return {1, p.matrices, p.matrices * p.rows};
}

/// out[r * cols + c] = in[r * row + c * col]; tiles keep both sides in the cache when the source runs along columns.
template <class T>
void gather(const std::byte* in, Strides strides, std::int64_t rows, std::int64_t cols, std::byte* out) {
  constexpr std::int64_t kElemBytes = sizeof(T);
  if (strides.col == 1) {
    for (std::int64_t r = 0; r < rows; ++r)
      std::memcpy(out + r * cols * kElemBytes, in + r * strides.row * kElemBytes,
                  static_cast<std::size_t>(cols * kElemBytes));
    return;
  }
  constexpr std::int64_t kTile = 64;
  for (std::int64_t r0 = 0; r0 < rows; r0 += kTile)
    for (std::int64_t c0 = 0; c0 < cols; c0 += kTile)
      for (std::int64_t r = r0; r < std::min(rows, r0 + kTile); ++r)
        for (std::int64_t c = c0; c < std::min(cols, c0 + kTile); ++c)
          std::memcpy(out + (r * cols + c) * kElemBytes, in + (r * strides.row + c * strides.col) * kElemBytes,
                      sizeof(T));
}

void gather(std::int64_t elem_bytes, const std::byte* in, Strides strides, std::int64_t rows, std::int64_t cols,
            std::byte* out) {
  if (elem_bytes == 1)
    gather<std::uint8_t>(in, strides, rows, cols, out);
  else
    gather<std::uint32_t>(in, strides, rows, cols, out);
}

}  // namespace

void repack(const XaiParameter& p, const io::TensorSpec& spec, bool fortran_order, std::span<const std::byte> payload,
            const std::function<void(const Repacked&)>& take) {
  const auto elem_bytes = static_cast<std::int64_t>(size_bytes(spec.dtype));
  const Strides strides = strides_of(p, fortran_order);
  const std::int64_t row_bytes = p.cols * elem_bytes;
  // Rows of one piece when columns stay together; a matrix is cut either by rows or by columns.
  const std::int64_t piece_rows = p.column_parts > 1 ? p.rows : spec.piece_bytes() / row_bytes;
  const std::int64_t slab_rows =
      std::min(p.rows, std::max<std::int64_t>(1, kSlabBytes / (piece_rows * row_bytes)) * piece_rows);
  const std::int64_t pieces_per_matrix = spec.num_pieces() / p.matrices;
  const std::int64_t part_cols = p.cols / p.column_parts;
  const bool as_it_is = !fortran_order && p.column_parts == 1;

  std::vector<std::byte> slab(as_it_is ? 0 : static_cast<std::size_t>(slab_rows * row_bytes));
  for (std::int64_t matrix = 0; matrix < p.matrices; ++matrix) {
    for (std::int64_t row = 0; row < p.rows; row += slab_rows) {
      const std::int64_t rows = std::min(slab_rows, p.rows - row);
      const auto slab_bytes = static_cast<std::size_t>(rows * row_bytes);
      const std::byte* in = payload.data() + (matrix * strides.matrix + row * strides.row) * elem_bytes;
      const std::span<const std::byte> source =
          fortran_order ? std::span<const std::byte>() : std::span(in, slab_bytes);
      const std::int64_t first_piece = matrix * pieces_per_matrix + row / piece_rows;
      if (as_it_is) {
        take({first_piece, source, source});
        continue;
      }
      for (std::int64_t part = 0; part < p.column_parts; ++part)
        gather(elem_bytes, in + part * part_cols * strides.col * elem_bytes, strides, rows, part_cols,
               slab.data() + part * rows * part_cols * elem_bytes);
      take({first_piece, std::span(slab).first(slab_bytes), source});
    }
  }
}

std::vector<float> repack_scales(const PickledArray& scales, std::span<const std::byte> payload,
                                 const std::string& what) {
  // Two or three axes: (groups, out) or (experts, groups, out).
  std::int64_t extents[3] = {1, 1, 1};
  std::copy(scales.shape.begin(), scales.shape.end(), extents + 3 - scales.shape.size());
  const auto [A, B, C] = extents;
  const Strides strides = scales.fortran_order ? Strides{1, A, A * B} : Strides{B * C, C, 1};
  std::vector<float> values;
  values.reserve(static_cast<std::size_t>(A * B * C));
  for (std::int64_t a = 0; a < A; ++a)
    for (std::int64_t b = 0; b < B; ++b)
      for (std::int64_t c = 0; c < C; ++c) {
        const std::int64_t elem = a * strides.matrix + b * strides.row + c * strides.col;
        float value = 0;
        if (scales.type == PickledType::kBfloat16) {
          Bf16 half;
          std::memcpy(&half, payload.data() + elem * 2, sizeof half);
          value = to_float(half);
        } else {
          std::memcpy(&value, payload.data() + elem * 4, sizeof value);
        }
        values.push_back(value);
      }
  check_finite(std::as_bytes(std::span(values)), 0, what);
  return values;
}

void check_finite(std::span<const std::byte> values, std::int64_t first_elem, const std::string& what) {
  const std::size_t num_elems = values.size() / sizeof(float);
  const auto value_at = [&](std::size_t i) {
    float value;
    std::memcpy(&value, values.data() + i * sizeof value, sizeof value);
    return value;
  };
  // Branch-free first: an infinity or NaN times zero is NaN.
  float sum = 0;
  for (std::size_t i = 0; i < num_elems; ++i) sum += value_at(i) * 0.0f;
  if (sum == 0.0f) return;
  for (std::size_t i = 0; i < num_elems; ++i)
    if (!std::isfinite(value_at(i)))
      fail("{}: element {} is {}, expected a finite number", what, first_elem + static_cast<std::int64_t>(i),
           value_at(i));
}

}  // namespace moesaic::converters
