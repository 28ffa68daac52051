#pragma once

#include "backend/kernels.hpp"
#include "isa.hpp"

namespace moesaic::cpu {

/// The kernels of a path, whether or not this processor can run them; open_cpu() checks that.
const backend::Kernels& table(Isa isa, Numerics numerics);

}  // namespace moesaic::cpu
