#include "int4.hpp"
#include "integers.hpp"

/// Products and attention of w8i16 and w4i16 in plain C++, to be read: sums are exact integers.
namespace moesaic::cpu {
namespace {

using Int16Quad = Quad<std::int16_t>;

/// acc(rows, 32) in doubles, which hold these integers; a line has each column's inputs side by side.
template <class Step, class Weight>
void tile(int rows, const void* x_steps, const void* lines, int64_t num_steps, float* acc, const void*) {
  constexpr int kInputs = sizeof(Step) / sizeof(std::int16_t);
  const auto* x = static_cast<const Step*>(x_steps);
  auto* sums = reinterpret_cast<double*>(acc);
  for (int row = 0; row < rows; ++row, sums += kColumns) {
    const auto* w = static_cast<const Weight*>(lines);
    std::int64_t exact[kColumns] = {};
    for (int64_t j = 0; j < num_steps; ++j, w += kInputs * kColumns) {
      const Step step = x[j * rows + row];
      for (int c = 0; c < kColumns; ++c)
        for (int i = 0; i < kInputs; ++i) exact[c] += std::int64_t{step.inputs[i]} * w[kInputs * c + i];
    }
    for (int c = 0; c < kColumns; ++c) sums[c] += static_cast<double>(exact[c]);
  }
}

void expand_int4(const void* packed, int64_t num_lines, void* out) {
  const auto* in = static_cast<const std::uint8_t*>(packed);
  auto* lines = static_cast<std::int16_t*>(out);
  for (int64_t j = 0; j < num_lines; ++j, in += kColumns, lines += 2 * kColumns)
    for (int c = 0; c < kColumns; ++c)
      for (int i = 0; i < 2; ++i) lines[2 * c + i] = static_cast<std::int16_t>(int4_value(in, c, i));
}

/// acc(rows, 32) in int32, of one group.
void int4_tile(int rows, const void* x_pairs, const void* lines, int64_t num_pairs, float* acc, const void*) {
  const auto* x = static_cast<const Int16Pair*>(x_pairs);
  auto* sums = reinterpret_cast<std::int32_t*>(acc);
  for (int row = 0; row < rows; ++row, sums += kColumns) {
    const auto* w = static_cast<const std::int16_t*>(lines);
    for (int64_t j = 0; j < num_pairs; ++j, w += 2 * kColumns)
      for (int c = 0; c < kColumns; ++c)
        for (int i = 0; i < 2; ++i) sums[c] += x[j * rows + row].inputs[i] * w[2 * c + i];
  }
}

void scores(int queries, const void* q_pairs, const float* q_scales, const Page& page, int64_t num_pairs, float* out) {
  for (int query = 0; query < queries; ++query) {
    const auto* q = static_cast<const Int16Pair*>(q_pairs) + query * num_pairs;
    const auto* keys = reinterpret_cast<const std::int16_t*>(page.keys);
    std::int64_t exact[kKeys] = {};
    for (int64_t j = 0; j < num_pairs; ++j, keys += 2 * kKeys)
      for (int t = 0; t < kKeys; ++t)
        exact[t] += std::int64_t{q[j].inputs[0]} * keys[2 * t] + std::int64_t{q[j].inputs[1]} * keys[2 * t + 1];
    for (int t = 0; t < kKeys; ++t)
      out[query * kKeys + t] = (static_cast<float>(exact[t]) * q_scales[query]) * page.key_scales[t];
  }
}

void values(int queries, const void* p_pairs, const float* p_scales, const Page& page, int64_t value_stride,
            float* out) {
  const auto* v = reinterpret_cast<const std::int16_t*>(page.values);
  for (int query = 0; query < queries; ++query, out += value_stride) {
    const auto* p = static_cast<const Int16Pair*>(p_pairs) + query * kKeys / 2;
    for (int64_t c = 0; c < value_stride; ++c) {
      std::int64_t exact = 0;
      for (int64_t j = 0; j < kKeys / 2; ++j) {
        const std::int16_t* pair = v + (j * value_stride + c) * 2;
        exact += std::int64_t{p[j].inputs[0]} * pair[0] + std::int64_t{p[j].inputs[1]} * pair[1];
      }
      out[c] += static_cast<float>(exact) * p_scales[query];
    }
  }
}

}  // namespace

constexpr Product kPortableInt8x16 = {.inputs = DType::kInt16,
                                      .step_inputs = 4,
                                      .step_bytes = sizeof(Int16Quad),
                                      .line_bytes = 4 * kColumns,
                                      .acc_bytes = sizeof(double),
                                      .tile_rows = 4,
                                      .direct_rows = 0,
                                      .make_steps = make_quads<std::int16_t>,
                                      .expand = copy_lines,
                                      .tile = tile<Int16Quad, std::int8_t>,
                                      .direct = nullptr,
                                      .scale_leaf = scale_exact_leaf};
constexpr Product kPortableInt16x16 = {.inputs = DType::kInt16,
                                       .step_inputs = 2,
                                       .step_bytes = sizeof(Int16Pair),
                                       .line_bytes = 4 * kColumns,
                                       .acc_bytes = sizeof(double),
                                       .tile_rows = 4,
                                       .direct_rows = 0,
                                       .make_steps = make_int16_pairs,
                                       .expand = copy_lines,
                                       .tile = tile<Int16Pair, std::int16_t>,
                                       .direct = nullptr,
                                       .scale_leaf = scale_exact_leaf};
constexpr Product kPortableInt4x16 = int4x16_product<expand_int4, int4_tile>(4, 0, make_int16_pairs, nullptr);
static_assert(rows_fit(kPortableInt8x16) && rows_fit(kPortableInt16x16) && rows_fit(kPortableInt4x16));

constexpr Attention kPortableInt16Attention = {.pair_bytes = sizeof(Int16Pair),
                                               .tile_queries = 4,
                                               .make_pairs = make_int16_pairs,
                                               .write_kv = write_kv_int16,
                                               .scores = scores,
                                               .weights_of_keys = int16_weights<make_int16_pairs>,
                                               .values = values};

}  // namespace moesaic::cpu
