#pragma once

#include "backend/backend.hpp"
#include "isa.hpp"

namespace moesaic::cpu {

/// The CPU backend: all memory is the host's, and kernels run when they are launched, by all threads of the process.
/// Error when the processor does not support the path.
std::shared_ptr<backend::Backend> open_cpu(Isa isa, Numerics numerics);

}  // namespace moesaic::cpu
