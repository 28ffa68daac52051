#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/math.hpp"

/// What an instruction path gives: tiles of multiply-adds and operations on single rows, as plain functions
/// on memory. The loops over panels, rows, heads and threads around them (gemm.cpp, attention.cpp, rows.cpp)
/// are written once.
///
/// This header and elementwise.hpp are all that the files of a path may include of ours: an inline function
/// or template shared with other files could be emitted here with instructions that the processor lacks, and
/// be picked by the linker.
namespace moesaic::cpu {

inline constexpr int kColumns = 32;  ///< of a panel (ops::kPanelColumns)
inline constexpr int kKeys = 64;     ///< of an attention block (ops::kBlockKeys)
inline constexpr int kMaxTileRows = 12;

/// `pairs`: inputs 2j and 2j+1 of a row side by side, in the form a path multiplies with: two bf16 (4 bytes)
/// or two floats (8 bytes). `lines`: the 32 columns of a panel for one pair of inputs, expanded to the form
/// that tiles read: (32 columns, 2) bf16, or in f32 mode (2, 32 columns) floats.
struct Path {
  std::size_t act_bytes;   ///< of an activation: bf16 or float
  std::size_t pair_bytes;  ///< of a pair of inputs
  std::size_t line_bytes;  ///< of an expanded line
  int tile_rows;           ///< the most rows a tile() takes
  int direct_rows;         ///< the most rows for which direct() is the better choice; 0: never
  int tile_queries;        ///< the most queries scores() and values() take

  // Matrix products.

  /// pairs[j * stride] = inputs 2j, 2j+1 of x(num_inputs) Act; a missing odd partner is +0.
  void (*make_pairs)(const void* x, std::int64_t num_inputs, void* pairs, std::int64_t stride);
  /// Packed lines (ops::PackedMatrix) to expanded ones.
  void (*expand_int8)(const void* packed, std::int64_t num_lines, void* lines);
  void (*expand_act)(const void* packed, std::int64_t num_lines, void* lines);
  /// acc(rows, 32) += x . lines; x: pairs (num_pairs, rows). May prefetch 64 bytes a pair of `next`, if not
  /// null.
  void (*tile)(int rows, const void* x, const void* lines, std::int64_t num_pairs, float* acc,
               const void* next);
  /// The same from packed int8 lines, which are expanded in registers; streams memory.
  void (*direct_int8)(int rows, const void* x, const void* packed, std::int64_t num_pairs, float* acc);
  void (*direct_act)(int rows, const void* x, const void* packed, std::int64_t num_pairs, float* acc);
  /// acc(rows, 32) *= scales(32).
  void (*scale_leaf)(const float* scales, int rows, float* acc);
  /// acc(n) = left(n) + acc(n).
  void (*add_left)(const float* left, std::int64_t n, float* acc);
  /// h(n) Act = round(gelu(gate(n)) * up(n)).
  void (*gated_gelu)(const float* gate, const float* up, std::int64_t n, void* h);

  // Attention of queries with one block of keys. A page: keys, then values; bf16 keys (K/2, 64, 2) and values
  // (32, value stride, 2), or float keys (K, 64) and values (64, value stride).

  /// Rounds k(K) and v(K) into position `slot` of a page.
  void (*write_kv)(const float* k, const float* v, std::int64_t key_size, std::int64_t value_stride, int slot,
                   void* keys, void* values);
  /// scores(queries, 64) = q . keys; q: pairs (queries, num_pairs).
  void (*scores)(int queries, const void* q, const void* keys, std::int64_t num_pairs, float* scores);
  /// p: pairs (32) = weights of the first `visible` of scores(64), +0 for the rest; returns their sum.
  float (*weights)(const float* scores, int visible, const ops::CappedSoftmax& softmax, void* p);
  /// out(queries, value stride) += p . values; p: pairs (queries, 32).
  void (*values)(int queries, const void* p, const void* values, std::int64_t value_stride, float* out);
  /// out(n) Act = round(sums(n) / sum + 0): a negative zero becomes +0.
  void (*finish_head)(const float* sums, float sum, std::int64_t n, void* out);

  // Rows.

  void (*rms_norm)(const float* x, const float* scale, std::int64_t width, float eps, float* y);
  void (*to_activation)(const float* x, std::int64_t n, void* y);
  void (*from_activation)(const void* y, std::int64_t n, float factor, float* x);
  void (*rope)(float* x, std::int64_t key_size, const float* cosines, const float* sines);
  /// logits(rows, experts) for up to 4 rows.
  void (*router_logits)(const float* x, int rows, std::int64_t width, const float* w,
                        std::int64_t num_experts, float* logits);
};

extern const Path kF32Path, kPortablePath, kAvx2Path, kAvx512Path;

/// acc(16) = vdpbf16ps(acc, a(16, 2), b(16, 2)), for the check against its definition at start.
void vdpbf16ps(const std::uint16_t* a, const std::uint16_t* b, float* acc);

}  // namespace moesaic::cpu
