#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "config/gemm_input.hpp"
#include "config/kv_page.hpp"
#include "ops/packed_matrix.hpp"

/// The one list of signatures of the CPU kernels. Every instruction path (kernels/cpu) fills in one `Kernels` for each
/// numeric mode; all paths of a mode give the same bits, for any number of rows in a call and any number of threads.
/// The arithmetic (orders, rounding points) is defined in docs/numerics.md. Rows are contiguous unless a stride is
/// given; `Act` in a comment stands for the activation type of the mode (float or Bf16), `Input` for a row of inputs of
/// int8 weights (GemmInput: Act, or int8 with scales); both are passed as void*.
namespace moesaic::ops {

enum class Isa : std::uint8_t { kPortable, kAvx2, kAvx512 };

constexpr std::string_view name(Isa isa) {
  return isa == Isa::kPortable ? "portable" : isa == Isa::kAvx2 ? "avx2" : "avx512";
}

using moesaic::kBlockKeys;
using moesaic::KvPageShape;

/// Where a row stands in its sequence, and its sequence's pages: blocks[b] holds positions [64 b, 64 b + 64) for all
/// layers and kv heads of this rank; `page_offset` bytes into it lies the page of (layer, kv head 0), the pages of the
/// next kv heads follow.
struct RowContext {
  std::byte* const* blocks = nullptr;
  std::int32_t position = 0;
};

struct AttentionShape {
  KvPageShape page;
  std::int64_t num_kv_heads = 0;  ///< of this rank
  std::int64_t q_per_kv = 0;      ///< H / G
  float multiplier = 0;           ///< applied to q.k
  float cap = 0;                  ///< score = cap * tanh(score / cap); the softmax's maximum is taken to be cap

  constexpr std::int64_t num_q_heads() const { return num_kv_heads * q_per_kv; }
};

struct Kernels {
  Isa isa = Isa::kPortable;
  Numerics numerics = Numerics::kF32;

  /// y(rows, columns) = leaf tree over l of scale(l, column) * sum over inputs of leaf l of x(row, input) * W(input,
  /// column). W: int8, x: Input, with W's leaves; or W: Act (the head), x: Act. y: row stride y_stride elements.
  void (*gemm)(const void* x, std::int64_t num_rows, const PackedMatrix& w, float* y, std::int64_t y_stride);

  /// h(rows, columns) Input, with num_leaves leaves = gelu(x.gate) * (x.up); x: Input; gate and up: int8, one leaf
  /// each, same shape.
  void (*gated_gelu)(const void* x, std::int64_t num_rows, const PackedMatrix& gate, const PackedMatrix& up,
                     std::int64_t num_leaves, void* h);

  /// y(rows, width) Input, with num_leaves leaves = x, rounded or quantised; a copy in f32 mode.
  void (*to_input)(const float* x, std::int64_t num_rows, std::int64_t width, std::int64_t num_leaves, void* y);

  /// y(rows, width) = x * (1 / sqrt(mean(x^2) + eps)) * scale(width), fp32.
  void (*rms_norm)(const float* x, const float* scale, std::int64_t num_rows, std::int64_t width, float eps, float* y);

  /// y Act = round(x), n elements; a copy in f32 mode.
  void (*to_activation)(const float* x, std::int64_t n, void* y);

  /// x(n) = float(y Act(n)) * factor.
  void (*from_activation)(const void* y, std::int64_t n, float factor, float* x);

  /// x(n) = x(n) + float(y Act(n)) * factor, the product rounded.
  void (*add_activation)(const void* y, std::int64_t n, float factor, float* x);

  /// sum(n) = x(n) + y(n), fp32; sum may be x or y.
  void (*add)(const float* x, const float* y, std::int64_t n, float* sum);

  /// x(n) = x(n) * factor, fp32.
  void (*scale)(float factor, std::int64_t n, float* x);

  /// logits(rows, E) = x(rows, D) . W(D, E), fp32, one accumulator per output, inputs ascending, product rounded.
  void (*router_logits)(const float* x, std::int64_t num_rows, std::int64_t width, const float* w,
                        std::int64_t num_experts, float* logits);

  /// Rotates x(rows, heads, K) in place, row stride x_stride elements: (a, b) = (x[j], x[j+K/2]) ->
  /// (a cos - b sin, b cos + a sin), products rounded; cosines and sines are tables (position, K/2).
  void (*rope)(float* x, std::int64_t x_stride, std::int64_t num_rows, std::int64_t num_heads, std::int64_t key_size,
               const RowContext* rows, const float* cosines, const float* sines);

  /// Rounds k(rows, kv heads, K) and v(rows, kv heads, K), row stride elements, into the rows' pages.
  void (*write_kv)(const float* k, const float* v, std::int64_t stride, std::int64_t num_rows,
                   const AttentionShape& shape, const RowContext* rows, std::int64_t page_offset);

  /// out(rows, q heads, K) Input, with num_leaves leaves = softmax(capped scores of q with the keys at positions 0 ...
  /// row's) . values. q: Act (rows, q heads, K), row stride q_stride elements. Every key must have been written before.
  void (*attention)(const void* q, std::int64_t q_stride, std::int64_t num_rows, const AttentionShape& shape,
                    const RowContext* rows, std::int64_t page_offset, std::int64_t num_leaves, void* out);
};

/// Whether this processor (and, for AVX-512, a check of vdpbf16ps against its definition on 1,000 cases) can run a
/// path.
bool supported(Isa isa);

/// The kernels of a path; throws Error when the processor does not support it.
const Kernels& kernels(Isa isa, Numerics numerics);

/// All paths, from the plainest on.
inline constexpr Isa kAllIsas[] = {Isa::kPortable, Isa::kAvx2, Isa::kAvx512};

/// What isa_from_option takes, for help texts.
inline constexpr const char* kIsaOptions = "auto, avx512, avx2 or portable";

/// `auto` is the best supported path; throws Error on an unknown name or an unsupported path.
Isa isa_from_option(const std::string& option);

/// Sets flush-to-zero and denormals-are-zero in this thread; threads that it starts inherit it. vdpbf16ps always works
/// so, the other paths must too. Call at the start of main, before any thread is made.
void flush_denormals();

}  // namespace moesaic::ops
