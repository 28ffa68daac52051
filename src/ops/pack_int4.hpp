#pragma once

#include "ops/packed_matrix.hpp"

/// pack() and clear_padding() of int4 matrices (MatrixShape says how they lie).
namespace moesaic::ops {

void pack_int4(const MatrixShape& shape, const PackBlock& block, const std::byte* source, std::byte* data);
void clear_int4(const MatrixShape& shape, std::byte* data);

}  // namespace moesaic::ops
