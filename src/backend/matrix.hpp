#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "backend/ptr.hpp"
#include "base/dtypes.hpp"
#include "config/weight_format.hpp"

namespace moesaic::backend {

/// A weight matrix W (num_leaves * leaf_size inputs, num_columns outputs).
struct MatrixShape {
  DType type = DType::kInt8;
  std::int64_t num_leaves = 1;   ///< 1, 2, 4 or 8: a complete subtree of the leaf tree
  std::int64_t leaf_size = 0;    ///< inputs a leaf
  std::int64_t num_columns = 0;  ///< outputs

  /// Whether each leaf and column has an fp32 scale; int4 has bf16 ones for groups of inputs instead.
  constexpr bool has_scales() const {
    return type == DType::kInt8 || type == DType::kSignMagnitude8 || type == DType::kInt16;
  }
};

/// A matrix that a backend has packed, in an order that only its kernels know. The memory is somebody else's.
struct Matrix {
  MatrixShape shape;
  Bytes data;
};

/// The inputs of a block of W (PackBlock) begin at a multiple of it.
inline constexpr std::int64_t kPackedInputs = 4;

/// A block of W: inputs of `leaf` from `first_input` on, and columns from `first_column`.
struct PackBlock {
  std::int64_t leaf = 0, first_input = 0, num_inputs = 0, first_column = 0, num_columns = 0;
};

/// int4: the bf16 scales of some groups of inputs and columns of W.
struct PackScales {
  std::int64_t leaf = 0, first_group = 0, num_groups = 0, first_column = 0, num_columns = 0;
};

/// How a backend's weights come into its memory: a loader packs pieces as it reads them. Several threads may pack
/// disjoint blocks of a matrix at once; all is done when the calls have returned.
class Packer {
 public:
  virtual ~Packer() = default;

  /// Bytes that a packed matrix takes, a multiple of 64.
  virtual std::size_t size_bytes(const MatrixShape& shape) const = 0;

  /// Before anything of w is packed, from one thread.
  virtual void begin(const Matrix& w) = 0;

  /// `source` is row-major (num_inputs, num_columns) of w's type; int8 for sign and magnitude; int4 as stores keep it,
  /// (pairs of inputs, num_columns).
  virtual void pack(const Matrix& w, const PackBlock& block, const std::byte* source) = 0;

  /// `source`: bf16 (num_groups, num_columns), of int4.
  virtual void pack_scales(const Matrix& w, const PackScales& block, const std::byte* source) = 0;

  /// The scales of a leaf's columns from first_column on, where the shape has_scales().
  virtual void set_scales(const Matrix& w, std::int64_t leaf, std::int64_t first_column,
                          std::span<const float> scales) = 0;

  /// Rows of an fp32 table as columns of a matrix of one leaf: `rows` is row-major (num_rows, leaf_size), row 0 goes to
  /// `first_column`, a multiple of 32; rounded to the matrix' type, bf16, f32 or int16, whose scales are made here.
  virtual void pack_rows(const Matrix& w, std::int64_t first_column, std::int64_t num_rows, const float* rows) = 0;

  /// Zeroes what the functions above never write and kernels read: padding.
  virtual void clear_padding(const Matrix& w) = 0;

  /// A plain tensor: to(size) = from(size), `from` being the host's.
  virtual void store(Bytes to, std::span<const std::byte> from) = 0;
};

}  // namespace moesaic::backend
