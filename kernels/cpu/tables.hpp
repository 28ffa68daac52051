#pragma once

#include "ops/kernels.hpp"

namespace moesaic::cpu {

/// The kernels of a path, whether or not this processor can run them; ops::kernels() (src/ops/isa.cpp) checks
/// that.
const ops::Kernels& table(ops::Isa isa, Numerics numerics);

/// acc(16) = vdpbf16ps(acc, a(16, 2), b(16, 2)); needs AVX-512 BF16.
void vdpbf16ps(const std::uint16_t* a, const std::uint16_t* b, float* acc);

}  // namespace moesaic::cpu
