#pragma once

namespace moesaic {

/// Sets flush-to-zero and denormals-are-zero in this thread; threads that it starts inherit it. The bf16 dot product of
/// processors always works so, all other arithmetic must too (docs/numerics.md). Call at the start of main, before any
/// thread is made.
void flush_denormals();

}  // namespace moesaic
