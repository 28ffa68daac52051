#include "isa.hpp"

#include <array>
#include <bit>
#include <cmath>
#include <random>

#include "base/dtypes.hpp"
#include "base/error.hpp"
#include "path.hpp"

namespace moesaic::cpu {
namespace {

float flushed(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }

/// A factor (bf16) or an accumulator: mostly of everyday size, now and then zero, subnormal, or next to it.
template <class Random>
float test_value(Random& random) {
  const auto draw = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  const float sign = draw(2) == 0 ? 1.0f : -1.0f, mantissa = 1.0f + static_cast<float>(draw(1 << 23)) * 0x1p-23f;
  switch (draw(16)) {
    case 0:
      return sign * 0.0f;
    case 1:
      return std::bit_cast<float>(static_cast<std::uint32_t>(draw(1 << 23)));  // subnormal
    case 2:
      return sign * std::ldexp(mantissa, -100 - draw(26));
    case 3:
      return sign * std::ldexp(mantissa, draw(60) - 30);
    default:
      return sign * std::ldexp(mantissa, draw(12) - 6);
  }
}

/// 1,000 vectors of 16 against the definition: the odd product first, then the even one, each added by an
/// fma; subnormal inputs and results are zeros.
bool vdpbf16ps_is_as_defined() {
  std::mt19937 random(20240317);
  for (int test = 0; test < 1000; ++test) {
    std::array<std::uint16_t, 32> a{}, b{};
    std::array<float, 16> acc{}, expected{};
    for (std::size_t i = 0; i < 16; ++i) {
      acc[i] = test_value(random);
      float sum = flushed(acc[i]);
      for (const std::size_t at : {2 * i + 1, 2 * i}) {
        a[at] = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(test_value(random)) >> 16);
        b[at] = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(test_value(random)) >> 16);
        sum = flushed(std::fma(flushed(to_float(Bf16{a[at]})), flushed(to_float(Bf16{b[at]})), sum));
      }
      expected[i] = sum;
    }
    vdpbf16ps(a.data(), b.data(), acc.data());
    for (std::size_t i = 0; i < 16; ++i)
      if (std::bit_cast<std::uint32_t>(acc[i]) != std::bit_cast<std::uint32_t>(expected[i])) return false;
  }
  return true;
}

bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni") &&
         __builtin_cpu_supports("avx512vbmi");
}

}  // namespace

bool supported(Isa isa) {
  // These ask the processor and whether the operating system saves the registers.
  static const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  static const bool avx512 = avx2 && has_avx512() && vdpbf16ps_is_as_defined();
  return isa == Isa::kPortable || (isa == Isa::kAvx2 && avx2) || (isa == Isa::kAvx512 && avx512);
}

Isa isa_from_option(const std::string& option) {
  std::string choices = "auto";
  Isa best = Isa::kPortable;
  for (const Isa isa : kAllIsas)
    if (supported(isa)) choices.append(", ").append(name(best = isa));
  if (option == "auto") return best;
  for (const Isa isa : kAllIsas) {
    if (option != name(isa)) continue;
    if (supported(isa)) return isa;
    if (isa == Isa::kAvx512 && has_avx512())
      fail(
          "--isa {}: this processor's vdpbf16ps does not compute what docs/numerics.md defines; choose one "
          "of {}",
          option, choices);
    fail("--isa {}: this processor does not support it; choose one of {}", option, choices);
  }
  fail("--isa {}: unknown instruction path; this processor supports {}", option, choices);
}

}  // namespace moesaic::cpu
