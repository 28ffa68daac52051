#include "peak_loops.hpp"

namespace moesaic::cpu {
namespace {

using Floats [[gnu::vector_size(32)]] = float;
using Ints [[gnu::vector_size(32)]] = int;
using Words [[gnu::vector_size(32), gnu::may_alias]] = std::uint64_t;

constexpr int kAccumulators = 12;

std::int64_t multiply_f32(std::int64_t iterations) {
  const Floats one = {1, 1, 1, 1, 1, 1, 1, 1};
  return repeat<kAccumulators, Floats>(iterations, [&](Floats& acc) {
    asm("vfmadd231ps %1, %1, %0" : "+x"(acc) : "x"(one));
  });
}

/// Without VNNI: pairs of bytes, pairs of their 16-bit sums, and an addition.
std::int64_t multiply_int8(std::int64_t iterations) {
  constexpr int kByteOnes = 0x01010101, kShortOnes = 0x00010001;
  const Ints bytes = Ints{} + kByteOnes, shorts = Ints{} + kShortOnes;
  return repeat<kAccumulators, Ints>(iterations, [&](Ints& acc) {
    Ints product;
    asm("vpmaddubsw %2, %2, %1\n\tvpmaddwd %3, %1, %1\n\tvpaddd %1, %0, %0"
        : "+x"(acc), "=&x"(product)
        : "x"(bytes), "x"(shorts));
  });
}

std::int64_t multiply_int16(std::int64_t iterations) {
  constexpr int kOnes = 0x00010001;
  const Ints ones = Ints{} + kOnes;
  return repeat<kAccumulators, Ints>(iterations, [&](Ints& acc) {
    Ints product;
    asm("vpmaddwd %2, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(acc), "=&x"(product) : "x"(ones));
  });
}

}  // namespace

const PeakLoops kAvx2Peak = {.f32 = {multiply_f32, kAccumulators * 8},
                             .bf16 = {multiply_f32, kAccumulators * 8},
                             .int8 = {multiply_int8, kAccumulators * 32},
                             .int16 = {multiply_int16, kAccumulators * 16},
                             .read = {read_streams<Words, 1>, read_streams<Words, 4>, read_streams<Words, 16>}};

}  // namespace moesaic::cpu
