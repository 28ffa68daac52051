#include "integers.hpp"

/// w8a8's products in plain C++, to be read: tile of 1 row x 32 columns.
namespace moesaic::cpu {
namespace {

constexpr int kLine_bytes = 4 * kColumns;

void tile(int rows, const void* x_quads, const void* lines, int64_t num_steps, float* acc, const void*) {
  const auto* x = static_cast<const Quad<std::int8_t>*>(x_quads);
  for (int row = 0; row < rows; ++row) {
    const auto* w = static_cast<const std::int8_t*>(lines);
    std::int32_t sums[kColumns];
    std::memcpy(sums, acc + row * kColumns, sizeof(sums));
    for (int64_t j = 0; j < num_steps; ++j, w += kLine_bytes) {
      const Quad<std::int8_t> quad = x[j * rows + row];
      for (int c = 0; c < kColumns; ++c)
        for (int i = 0; i < 4; ++i) sums[c] += quad.inputs[i] * w[4 * c + i];
    }
    std::memcpy(acc + row * kColumns, sums, sizeof(sums));
  }
}

}  // namespace

constexpr Product kPortableInt8 = {.inputs = DType::kInt8,
                                   .step_inputs = 4,
                                   .step_bytes = sizeof(Quad<std::int8_t>),
                                   .line_bytes = kLine_bytes,
                                   .tile_rows = 4,
                                   .direct_rows = 0,
                                   .make_steps = make_quads<std::int8_t>,
                                   .expand = copy_lines,
                                   .tile = tile,
                                   .direct = nullptr,
                                   .scale_leaf = scale_int8_leaf<0>};
static_assert(rows_fit(kPortableInt8));

}  // namespace moesaic::cpu
