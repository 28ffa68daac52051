#include "int4.hpp"

/// w8a16 in plain C++, for any x86-64 and to be read: tile of 1 row x 32 columns. A product of a bf16 with an
/// integer weight or (short of underflow) another bf16 is exact in fp32, so multiply-then-add rounds once, as
/// an fma does.
namespace moesaic::cpu {
namespace {

/// acc(n) += both inputs of a pair, the odd one first; w: (n, 2) bf16.
MOESAIC_INLINE void add_pair(F32Pair x, const std::uint16_t* w, int n, float* acc) {
  for (int c = 0; c < n; ++c) acc[c] = acc[c] + x.odd * widen_bf16(w[2 * c + 1]);
  for (int c = 0; c < n; ++c) acc[c] = acc[c] + x.even * widen_bf16(w[2 * c]);
}

/// Position of column c in a packed line, in pairs (PanelLayout::pair_offset / 2).
constexpr int packed_pair(int c) { return c % 16 / 4 * 8 + c / 16 * 4 + c % 4; }

void expand_int8(const void* packed, int64_t num_lines, void* out) {
  const auto* in = static_cast<const std::uint8_t*>(packed);
  auto* lines = static_cast<std::uint16_t*>(out);
  for (int64_t j = 0; j < num_lines; ++j, in += 2 * kColumns, lines += 2 * kColumns)
    for (int c = 0; c < kColumns; ++c)
      for (int i = 0; i < 2; ++i)
        lines[2 * c + i] =
            static_cast<std::uint16_t>(MOESAIC_BITS(std::uint32_t, sign_magnitude(in[2 * packed_pair(c) + i])) >> 16);
}

void expand_int4(const void* packed, int64_t num_lines, void* out) {
  const auto* in = static_cast<const std::uint8_t*>(packed);
  auto* lines = static_cast<std::uint16_t*>(out);
  for (int64_t j = 0; j < num_lines; ++j, in += kColumns, lines += 2 * kColumns)
    for (int c = 0; c < kColumns; ++c)
      for (int i = 0; i < 2; ++i)
        lines[2 * c + i] = static_cast<std::uint16_t>(MOESAIC_BITS(std::uint32_t, int4_value(in, c, i)) >> 16);
}

void expand_bf16(const void* packed, int64_t num_lines, void* out) {
  const auto* in = static_cast<const std::uint16_t*>(packed);
  auto* lines = static_cast<std::uint16_t*>(out);
  for (int64_t j = 0; j < num_lines; ++j, in += 2 * kColumns, lines += 2 * kColumns)
    for (int c = 0; c < kColumns; ++c)
      for (int i = 0; i < 2; ++i) lines[2 * c + i] = in[2 * packed_pair(c) + i];
}

void tile(int rows, const void* x_pairs, const void* lines, int64_t num_pairs, float* acc, const void*) {
  const auto* x = static_cast<const F32Pair*>(x_pairs);
  const auto* w = static_cast<const std::uint16_t*>(lines);
  for (int row = 0; row < rows; ++row) {
    float sums[kColumns];
    std::memcpy(sums, acc + row * kColumns, sizeof(sums));
    for (int64_t j = 0; j < num_pairs; ++j) add_pair(x[j * rows + row], w + j * 2 * kColumns, kColumns, sums);
    std::memcpy(acc + row * kColumns, sums, sizeof(sums));
  }
}

void scores(int queries, const void* q_pairs, const float*, const Page& page, int64_t num_pairs, float* out) {
  const auto* keys = reinterpret_cast<const std::uint16_t*>(page.keys);
  for (int query = 0; query < queries; ++query) {
    const F32Pair* q = static_cast<const F32Pair*>(q_pairs) + query * num_pairs;
    float sums[kKeys] = {};
    for (int64_t j = 0; j < num_pairs; ++j) add_pair(q[j], keys + j * 2 * kKeys, kKeys, sums);
    std::memcpy(out + query * kKeys, sums, sizeof(sums));
  }
}

template <int kWidth>
void value_columns(const F32Pair* p, const std::uint16_t* v, int64_t value_stride, float* out) {
  float sums[kWidth] = {};
  for (int64_t j = 0; j < kKeys / 2; ++j) add_pair(p[j], v + j * value_stride * 2, kWidth, sums);
  for (int c = 0; c < kWidth; ++c) out[c] += sums[c];
}

void values(int queries, const void* p_pairs, const float*, const Page& page, int64_t value_stride, float* out) {
  const auto* v = reinterpret_cast<const std::uint16_t*>(page.values);
  for (int query = 0; query < queries; ++query, out += value_stride) {
    const F32Pair* p = static_cast<const F32Pair*>(p_pairs) + query * kKeys / 2;
    int64_t c = 0;
    for (; c + 64 <= value_stride; c += 64) value_columns<64>(p, v + 2 * c, value_stride, out + c);
    for (; c < value_stride; c += 16) value_columns<16>(p, v + 2 * c, value_stride, out + c);
  }
}

constexpr Product kInt8 = {.inputs = DType::kBf16,
                           .step_inputs = 2,
                           .step_bytes = sizeof(F32Pair),
                           .line_bytes = 4 * kColumns,
                           .tile_rows = 4,
                           .direct_rows = 0,
                           .make_steps = make_pairs<Bf16Act, F32Pair>,
                           .expand = expand_int8,
                           .tile = tile,
                           .direct = nullptr,
                           .scale_leaf = scale_leaf};

constexpr Product kBf16 = with_activations(kInt8, expand_bf16, nullptr);
constexpr Product kInt4 = int4_product<kInt8, expand_int4, nullptr>();
static_assert(rows_fit(kInt8) && rows_fit(kBf16) && rows_fit(kInt4));

constexpr Attention kAttention = {.pair_bytes = sizeof(F32Pair),
                                  .tile_queries = 4,
                                  .make_pairs = make_pairs<Bf16Act, F32Pair>,
                                  .write_kv = write_kv_bf16,
                                  .scores = scores,
                                  .weights_of_keys = weights<Bf16Act, F32Pair>,
                                  .values = values};

constexpr Path kPath = {.act = kCodec<Bf16Act>,
                        .input = kCodec<Bf16Act>,
                        .int8 = kInt8Codec,
                        .attention = &kAttention,
                        .products = {nullptr, &kBf16, nullptr, &kInt4, &kInt8},
                        .result_bytes = 2,
                        .add_left = add_left,
                        .gated_gelu = gated_gelu<Bf16Act>,
                        .finish_head = finish_head<Bf16Act>,
                        .rms_norm = rms_norm,
                        .rope = rope,
                        .router_logits = router_logits};

}  // namespace

const Path kPortablePath = kPath;
const Path kPortableInt8Path = with_int8_inputs(kPath, kPortableInt8);
const Path kPortableInt16Path =
    with_int16_rows(kPath, kPortableInt8x16, kPortableInt4x16, kPortableInt16x16, kPortableInt16Attention);

}  // namespace moesaic::cpu
