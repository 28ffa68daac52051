#include "base/denormals.hpp"

namespace moesaic {

void flush_denormals() {
  constexpr unsigned kFlushToZero = 1u << 15, kDenormalsAreZero = 1u << 6;
  __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | kFlushToZero | kDenormalsAreZero);
}

}  // namespace moesaic
