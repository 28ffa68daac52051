#include "peak_loops.hpp"

namespace moesaic::cpu {
namespace {

using Floats [[gnu::vector_size(64)]] = float;
using Ints [[gnu::vector_size(64)]] = int;
using Words [[gnu::vector_size(64), gnu::may_alias]] = std::uint64_t;

/// As many as the tiles of path_avx512.cpp have; vdpbf16ps takes 6 cycles, so 12 would do.
constexpr int kAccumulators = 24;

std::int64_t multiply_f32(std::int64_t iterations) {
  const Floats one = Floats{} + 1.0f;
  return repeat<kAccumulators, Floats>(iterations, [&](Floats& acc) {
    asm("vfmadd231ps %1, %1, %0" : "+v"(acc) : "v"(one));
  });
}

std::int64_t multiply_bf16(std::int64_t iterations) {
  constexpr int kOnes = 0x3f803f80;  // two of bf16
  const Ints ones = Ints{} + kOnes;
  return repeat<kAccumulators, Floats>(iterations, [&](Floats& acc) {
    asm("vdpbf16ps %1, %1, %0" : "+v"(acc) : "v"(ones));
  });
}

std::int64_t multiply_int8(std::int64_t iterations) {
  constexpr int kOnes = 0x01010101;
  const Ints ones = Ints{} + kOnes;
  return repeat<kAccumulators, Ints>(iterations, [&](Ints& acc) {
    asm("vpdpbusd %1, %1, %0" : "+v"(acc) : "v"(ones));
  });
}

std::int64_t multiply_int16(std::int64_t iterations) {
  constexpr int kOnes = 0x00010001;
  const Ints ones = Ints{} + kOnes;
  return repeat<kAccumulators, Ints>(iterations, [&](Ints& acc) {
    asm("vpdpwssd %1, %1, %0" : "+v"(acc) : "v"(ones));
  });
}

}  // namespace

const PeakLoops kAvx512Peak = {.f32 = {multiply_f32, kAccumulators * 16},
                               .bf16 = {multiply_bf16, kAccumulators * 32},
                               .int8 = {multiply_int8, kAccumulators * 64},
                               .int16 = {multiply_int16, kAccumulators * 32},
                               .read = {read_streams<Words, 1>, read_streams<Words, 4>, read_streams<Words, 16>}};

}  // namespace moesaic::cpu
