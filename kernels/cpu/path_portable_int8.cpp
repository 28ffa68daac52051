#include "elementwise.hpp"

/// w8a8's products in plain C++, to be read: pairs of int16, tile of 1 row x 32 columns.
namespace moesaic::cpu {
namespace {

/// Position of column c in a packed line, in pairs (MatrixShape::line_offset / 2).
constexpr int packed_pair(int c) { return c % 16 / 4 * 8 + c / 16 * 4 + c % 4; }

void expand(const void* packed, int64_t num_steps, void* out) {
  const auto* in = static_cast<const std::int8_t*>(packed);
  auto* lines = static_cast<std::int16_t*>(out);
  for (int64_t j = 0; j < num_steps; ++j, in += 2 * kColumns, lines += 2 * kColumns)
    for (int c = 0; c < kColumns; ++c)
      for (int i = 0; i < 2; ++i) lines[2 * c + i] = in[2 * packed_pair(c) + i];
}

void tile(int rows, const void* x_pairs, const void* lines, int64_t num_steps, float* acc, const void*) {
  const auto* x = static_cast<const Int16Pair*>(x_pairs);
  for (int row = 0; row < rows; ++row) {
    const auto* w = static_cast<const std::int16_t*>(lines);
    std::int32_t sums[kColumns];
    std::memcpy(sums, acc + row * kColumns, sizeof(sums));
    for (int64_t j = 0; j < num_steps; ++j, w += 2 * kColumns) {
      const Int16Pair pair = x[j * rows + row];
      for (int c = 0; c < kColumns; ++c) sums[c] += pair.even * w[2 * c] + pair.odd * w[2 * c + 1];
    }
    std::memcpy(acc + row * kColumns, sums, sizeof(sums));
  }
}

}  // namespace

constexpr Product kPortableInt8 = {.quantised = true,
                                   .step_inputs = 2,
                                   .step_bytes = sizeof(Int16Pair),
                                   .line_bytes = 4 * kColumns,
                                   .tile_rows = 4,
                                   .direct_rows = 0,
                                   .make_steps = make_int16_pairs,
                                   .expand = expand,
                                   .tile = tile,
                                   .direct = nullptr,
                                   .scale_leaf = scale_int8_leaf<0>};
static_assert(rows_fit(kPortableInt8));

}  // namespace moesaic::cpu
