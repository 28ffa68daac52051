#pragma once

#include <cstddef>
#include <cstdint>

#include "base/dtypes.hpp"
#include "base/math.hpp"
#include "config/kv_page.hpp"
#include "config/row_form.hpp"

/// What an instruction path gives: tiles of multiply-adds and operations on single rows, as plain functions
/// on memory. The loops over panels, rows, heads and threads around them (gemm.cpp, attention.cpp, rows.cpp)
/// are written once.
///
/// This header and elementwise.hpp are all that the files of a path may include of ours, and of the functions
/// of other headers they may call only always inlined ones: an inline function or template shared with other
/// files could be emitted here with instructions that the processor lacks, and be picked by the linker.
namespace moesaic::cpu {

inline constexpr int kColumns = 32;  ///< of a panel (kPanelColumns)
inline constexpr int kKeys = 64;     ///< of an attention block (moesaic::kBlockKeys)
inline constexpr int kMaxTileRows = 12;
/// A group of inputs of an int4 matrix (MatrixShape): scales, then lines.
inline constexpr int kInt4GroupSteps = 32;
inline constexpr std::size_t kInt4Scales_bytes = 64, kInt4Group_bytes = kInt4Scales_bytes + kInt4GroupSteps * 32;

/// How rows are multiplied with a matrix. A step is what is multiplied at a time: two or four inputs, side by
/// side, in a form of the path's own: two bf16 or floats, or four integers. A line: the 32 columns of a panel for
/// one step, expanded to the form that tiles read. Packed lines (PanelLayout) hold as many inputs, or twice as many.
struct Product {
  DType inputs;                           ///< of the rows: f32, bf16, or int8 and int16 with scales (RowForm)
  int step_inputs;                        ///< 2 or 4
  std::size_t step_bytes;                 ///< of a row's inputs of one step
  std::size_t line_bytes;                 ///< of an expanded line
  std::size_t acc_bytes = sizeof(float);  ///< of a sum in the making
  int tile_rows;                          ///< the most rows a tile() takes
  int direct_rows;      ///< the most rows for which direct() is the better choice; 0: never. At most tile_rows
  int group_steps = 0;  ///< steps that share scales; with them packed lines and expanded ones (one line more) begin,
                        ///< and tile() and direct() scale each group's sums. 0: none do

  /// steps[j * stride] = the inputs of step j of x(num_inputs); missing ones are +0.
  void (*make_steps)(const void* x, std::int64_t num_inputs, void* steps, std::int64_t stride);
  /// Packed lines (PackedMatrix) of num_steps steps to expanded ones.
  void (*expand)(const void* packed, std::int64_t num_steps, void* lines);
  /// acc(rows, 32) += x . lines, in floats, int32 or, of acc_bytes, another form of the path's own; x: steps
  /// (num_steps, rows). May prefetch what packed lines have a step from `next`, if not null.
  void (*tile)(int rows, const void* x, const void* lines, std::int64_t num_steps, float* acc, const void* next);
  /// The same from packed lines, which are expanded in registers; streams memory.
  void (*direct)(int rows, const void* x, const void* packed, std::int64_t num_steps, float* acc);
  /// leaf(rows, 32) = acc * scales(32), or from integers (float(acc) * the row's scale) * scales(32); leaf may be acc
  /// where both have elements of one size.
  /// Rows' leaf scales lie input_stride_bytes apart. Null: the matrix has no scales, and acc is the leaf.
  void (*scale_leaf)(const float* scales, const LeafScale* inputs, std::size_t input_stride_bytes, int rows,
                     const void* acc, float* leaf);
  /// The same product for matrices in which -128 occurs (PackedMatrix::has_lowest); null: this one serves.
  const Product* with_lowest = nullptr;
};

/// Whether rows for direct() lie in one tile, as gemm.cpp packs them. For static_assert: leaves no code.
consteval bool rows_fit(const Product& product) {
  return product.direct_rows <= product.tile_rows && product.tile_rows <= kMaxTileRows &&
         (!product.with_lowest || product.with_lowest->direct_rows <= product.tile_rows);
}

/// How numbers of a type are made from floats and read again. Integers have a scale, which the other types ignore.
struct Codec {
  DType type;
  /// y(n), and its scale, = x(n), rounded.
  void (*encode)(const float* x, std::int64_t n, void* y, LeafScale* scale);
  /// x(n) = y(n) * factor; integers: (float(y) * scale) * factor, both products rounded.
  void (*decode)(const void* y, const LeafScale* scale, std::int64_t n, float factor, float* x);
  /// x(n) += what decode() gives.
  void (*add)(const void* y, const LeafScale* scale, std::int64_t n, float factor, float* x);
};

/// A page of the KV cache: the keys and values of kKeys positions of a kv head, and where they are integers a scale for
/// each position (config/kv_page.hpp).
struct Page {
  std::byte *keys, *values;
  float *key_scales, *value_scales;
};

/// Attention of queries with one block of keys. Pages of bf16 or int16: keys (K/2, 64, 2), values (32, value stride,
/// 2); of floats: keys (K, 64), values (64, value stride). `pairs`: inputs 2j and 2j+1 of a row side by side in a form
/// of the path's own.
struct Attention {
  std::size_t pair_bytes;
  int tile_queries;  ///< the most queries scores() and values() take

  /// pairs[j * stride] = inputs 2j, 2j+1 of x(num_inputs) Act.
  void (*make_pairs)(const void* x, std::int64_t num_inputs, void* pairs, std::int64_t stride);
  /// Rounds k(K) and v(K) into position `slot` of a page.
  void (*write_kv)(const float* k, const float* v, std::int64_t key_size, std::int64_t value_stride, int slot,
                   const Page& page);
  /// scores(queries, 64) = q . keys; q: pairs (queries, num_pairs), and their scales where they are integers.
  void (*scores)(int queries, const void* q, const float* q_scales, const Page& page, std::int64_t num_pairs,
                 float* scores);
  /// p: pairs (32) = weights of the first `visible` of scores(64), +0 for the rest, and their scale where p . values is
  /// an integer sum; returns the weights' sum.
  float (*weights_of_keys)(const float* scores, int visible, const math::CappedSoftmax& softmax, const Page& page,
                           void* p, float* p_scale);
  /// out(queries, value stride) += p . values; p: pairs (queries, 32).
  void (*values)(int queries, const void* p, const float* p_scales, const Page& page, std::int64_t value_stride,
                 float* out);
};

struct Path {
  Codec act, input;  ///< activations, and inputs of the layers' matrices (config/row_form.hpp)
  Codec int8;        ///< rows that are rounded on their way to the experts
  const Attention* attention;
  const Product* products[kNumDTypes];  ///< with matrices of a DType; null: the mode has none
  std::size_t result_bytes;             ///< of an element that gated_gelu and finish_head give: an activation, or a
                                        ///< float that is to be quantised

  // Matrix products.

  /// acc(n) = left(n) + acc(n).
  void (*add_left)(const float* left, std::int64_t n, float* acc);
  /// h(n) = round(gelu(gate(n)) * up(n)), or unrounded.
  void (*gated_gelu)(const float* gate, const float* up, std::int64_t n, void* h);

  /// out(n) = round(sums(n) / sum + 0), or unrounded: a negative zero becomes +0.
  void (*finish_head)(const float* sums, float sum, std::int64_t n, void* out);

  // Rows.

  void (*rms_norm)(const float* x, const float* scale, std::int64_t width, float eps, float* y);
  void (*rope)(float* x, std::int64_t key_size, const float* cosines, const float* sines);
  /// logits(experts) = x(width) . w(width, experts).
  void (*router_logits)(const float* x, std::int64_t width, const float* w, std::int64_t num_experts, float* logits);
};

extern const Path kF32Path, kPortablePath, kAvx2Path, kAvx512Path;
/// w8a8: the paths above but for the int8 matrices and what feeds them; no other matrices but the head.
extern const Path kPortableInt8Path, kAvx2Int8Path, kAvx512Int8Path;
extern const Product kPortableInt8, kAvx2Int8, kAvx512Int8;
/// w8i16, w4i16: the paths above but for matrices, attention and what feeds them.
extern const Path kPortableInt16Path, kAvx2Int16Path, kAvx512Int16Path;
extern const Product kPortableInt8x16, kAvx2Int8x16, kAvx512Int8x16;     ///< int16 rows with int8 matrices
extern const Product kPortableInt16x16, kAvx2Int16x16, kAvx512Int16x16;  ///< int16 rows with int16 matrices
extern const Product kPortableInt4x16, kAvx2Int4x16, kAvx512Int4x16;     ///< int16 rows with int4 matrices
extern const Attention kPortableInt16Attention, kAvx2Int16Attention, kAvx512Int16Attention;

/// acc(16) = vdpbf16ps(acc, a(16, 2), b(16, 2)), for the check against its definition at start.
void vdpbf16ps(const std::uint16_t* a, const std::uint16_t* b, float* acc);

}  // namespace moesaic::cpu
