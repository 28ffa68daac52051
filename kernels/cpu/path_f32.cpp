#include "int4.hpp"

/// The f32 mode, the definition that everything is tested against: plain C++, inputs ascending, every product
/// and every sum rounded. One implementation for all instruction sets; tile of 1 row x 32 columns.
namespace moesaic::cpu {
namespace {

/// acc(n) += x * w(n).
MOESAIC_INLINE void add_input(float x, const float* w, int n, float* acc) {
  for (int c = 0; c < n; ++c) acc[c] = acc[c] + x * w[c];
}

/// Position of input i of column c in a packed line of a pair (PanelLayout::pair_offset).
constexpr int packed_at(int c, int i) { return c % 16 / 4 * 16 + c / 16 * 8 + c % 4 * 2 + i; }

MOESAIC_INLINE float widen(std::uint16_t bf16) { return widen_bf16(bf16); }
MOESAIC_INLINE float widen(float x) { return x; }

template <class Weight>
void expand(const void* packed, int64_t num_lines, void* out) {
  const auto* in = static_cast<const Weight*>(packed);
  auto* lines = static_cast<float*>(out);
  for (int64_t j = 0; j < num_lines; ++j, in += 2 * kColumns)
    for (int i = 0; i < 2; ++i, lines += kColumns)
      for (int c = 0; c < kColumns; ++c) lines[c] = widen(in[packed_at(c, i)]);
}

/// Lines of four inputs; a step of two takes half of one.
void expand_int8(const void* packed, int64_t num_pairs, void* out) {
  const auto* in = static_cast<const std::int8_t*>(packed);
  auto* lines = static_cast<float*>(out);
  for (int64_t i = 0; i < 2 * num_pairs; ++i, lines += kColumns)
    for (int c = 0; c < kColumns; ++c) lines[c] = in[i / 4 * 4 * kColumns + c * 4 + i % 4];
}

void expand_int4(const void* packed, int64_t num_lines, void* out) {
  const auto* in = static_cast<const std::uint8_t*>(packed);
  auto* lines = static_cast<float*>(out);
  for (int64_t j = 0; j < num_lines; ++j, in += kColumns)
    for (int i = 0; i < 2; ++i, lines += kColumns)
      for (int c = 0; c < kColumns; ++c) lines[c] = int4_value(in, c, i);
}

void tile(int rows, const void* x_pairs, const void* lines, int64_t num_pairs, float* acc, const void*) {
  const auto* x = static_cast<const F32Pair*>(x_pairs);
  const auto* w = static_cast<const float*>(lines);
  for (int row = 0; row < rows; ++row) {
    float sums[kColumns];
    std::memcpy(sums, acc + row * kColumns, sizeof(sums));
    for (int64_t j = 0; j < num_pairs; ++j) {
      add_input(x[j * rows + row].even, w + 2 * j * kColumns, kColumns, sums);
      add_input(x[j * rows + row].odd, w + (2 * j + 1) * kColumns, kColumns, sums);
    }
    std::memcpy(acc + row * kColumns, sums, sizeof(sums));
  }
}

void write_kv(const float* k, const float* v, int64_t key_size, int64_t value_stride, int slot, const Page& page) {
  for (int64_t j = 0; j < key_size; ++j) reinterpret_cast<float*>(page.keys)[j * kKeys + slot] = k[j];
  for (int64_t j = 0; j < key_size; ++j) reinterpret_cast<float*>(page.values)[slot * value_stride + j] = v[j];
}

void scores(int queries, const void* q_pairs, const float*, const Page& page, int64_t num_pairs, float* out) {
  const auto* keys = reinterpret_cast<const float*>(page.keys);
  for (int query = 0; query < queries; ++query) {
    const F32Pair* q = static_cast<const F32Pair*>(q_pairs) + query * num_pairs;
    float sums[kKeys] = {};
    for (int64_t j = 0; j < num_pairs; ++j) {
      add_input(q[j].even, keys + 2 * j * kKeys, kKeys, sums);
      add_input(q[j].odd, keys + (2 * j + 1) * kKeys, kKeys, sums);
    }
    std::memcpy(out + query * kKeys, sums, sizeof(sums));
  }
}

void values(int queries, const void* p_pairs, const float*, const Page& page, int64_t value_stride, float* out) {
  const auto* v = reinterpret_cast<const float*>(page.values);
  for (int query = 0; query < queries; ++query, out += value_stride) {
    const F32Pair* p = static_cast<const F32Pair*>(p_pairs) + query * kKeys / 2;
    for (int64_t c = 0; c < value_stride; c += 16) {
      float sums[16] = {};
      for (int64_t j = 0; j < kKeys / 2; ++j) {
        add_input(p[j].even, v + 2 * j * value_stride + c, 16, sums);
        add_input(p[j].odd, v + (2 * j + 1) * value_stride + c, 16, sums);
      }
      for (int lane = 0; lane < 16; ++lane) out[c + lane] += sums[lane];
    }
  }
}

constexpr Product kInt8 = {.inputs = DType::kF32,
                           .step_inputs = 2,
                           .step_bytes = sizeof(F32Pair),
                           .line_bytes = 8 * kColumns,
                           .tile_rows = 4,
                           .direct_rows = 0,
                           .make_steps = make_pairs<F32Act, F32Pair>,
                           .expand = expand_int8,
                           .tile = tile,
                           .direct = nullptr,
                           .scale_leaf = scale_leaf};

constexpr Product kBf16 = with_activations(kInt8, expand<std::uint16_t>, nullptr);
constexpr Product kF32 = with_activations(kInt8, expand<float>, nullptr);
constexpr Product kInt4 = int4_product<kInt8, expand_int4, nullptr>();
static_assert(rows_fit(kInt8) && rows_fit(kBf16) && rows_fit(kF32) && rows_fit(kInt4));

constexpr Attention kAttention = {.pair_bytes = sizeof(F32Pair),
                                  .tile_queries = 4,
                                  .make_pairs = make_pairs<F32Act, F32Pair>,
                                  .write_kv = write_kv,
                                  .scores = scores,
                                  .weights_of_keys = weights<F32Act, F32Pair>,
                                  .values = values};

}  // namespace

const Path kF32Path = {.act = kCodec<F32Act>,
                       .input = kCodec<F32Act>,
                       .int8 = kInt8Codec,
                       .attention = &kAttention,
                       .products = {&kF32, &kBf16, &kInt8, &kInt4, nullptr},
                       .result_bytes = 4,
                       .add_left = add_left,
                       .gated_gelu = gated_gelu<F32Act>,
                       .finish_head = finish_head<F32Act>,
                       .rms_norm = rms_norm,
                       .rope = rope,
                       .router_logits = router_logits};

}  // namespace moesaic::cpu
