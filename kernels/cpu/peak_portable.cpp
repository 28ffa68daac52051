#include "peak_loops.hpp"

namespace moesaic::cpu {
namespace {

using Floats [[gnu::vector_size(16)]] = float;
using Ints [[gnu::vector_size(16)]] = int;
using Shorts [[gnu::vector_size(16)]] = short;
using Words [[gnu::vector_size(16), gnu::may_alias]] = std::uint64_t;

constexpr int kAccumulators = 12;

std::int64_t multiply_f32(std::int64_t iterations) {
  Floats a = {1, 1, 1, 1};
  return repeat<kAccumulators, Floats>(iterations, [&](Floats& acc) {
    asm("" : "+x"(a));  // or the compiler would multiply once only
    acc = acc + a * a;
  });
}

/// Bytes are widened to 16 bits too, which can be multiplied in pairs.
std::int64_t multiply_int16(std::int64_t iterations) {
  Shorts a = {1, 1, 1, 1, 1, 1, 1, 1};
  return repeat<kAccumulators, Ints>(iterations, [&](Ints& acc) {
    asm("" : "+x"(a));
    acc = acc + reinterpret_cast<Ints>(__builtin_ia32_pmaddwd128(a, a));
  });
}

}  // namespace

const PeakLoops kPortablePeak = {.f32 = {multiply_f32, kAccumulators * 4},
                                 .bf16 = {multiply_f32, kAccumulators * 4},
                                 .int8 = {multiply_int16, kAccumulators * 8},
                                 .int16 = {multiply_int16, kAccumulators * 8},
                                 .read = {read_streams<Words, 1>, read_streams<Words, 4>, read_streams<Words, 16>}};

}  // namespace moesaic::cpu
