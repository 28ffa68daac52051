#pragma once

#include <cstdint>
#include <string>
#include <string_view>

/// Instruction paths: which kernels of the CPU backend run on this processor. Nobody else names them.
namespace moesaic::cpu {

enum class Isa : std::uint8_t { kPortable, kAvx2, kAvx512 };

/// All paths, from the plainest on.
inline constexpr Isa kAllIsas[] = {Isa::kPortable, Isa::kAvx2, Isa::kAvx512};

constexpr std::string_view name(Isa isa) {
  return isa == Isa::kPortable ? "portable" : isa == Isa::kAvx2 ? "avx2" : "avx512";
}

/// Whether this processor (and, for AVX-512, a check of vdpbf16ps against its definition on 1,000 cases) can run a
/// path.
bool supported(Isa isa);

/// `auto` is the best supported path; throws Error on an unknown name or an unsupported path.
Isa isa_from_option(const std::string& option);

}  // namespace moesaic::cpu
