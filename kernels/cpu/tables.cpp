#include "tables.hpp"

#include "drivers.hpp"

namespace moesaic::cpu {
namespace {

/// Binds a driver's first argument: bind<kPath, gemm>::call(x, ...) = gemm(kPath, x, ...).
template <const Path& path, auto driver>
struct Bind;
template <const Path& path, class... Args, void (*driver)(const Path&, Args...)>
struct Bind<path, driver> {
  static void call(Args... args) { driver(path, args...); }
};

template <const Path& path>
constexpr ops::Kernels kernels_of(ops::Isa isa, Numerics numerics) {
  return {.isa = isa,
          .numerics = numerics,
          .gemm = Bind<path, gemm>::call,
          .gated_gelu = Bind<path, gated_gelu>::call,
          .to_input = Bind<path, to_input>::call,
          .rms_norm = Bind<path, rms_norm>::call,
          .to_activation = Bind<path, to_activation>::call,
          .from_activation = Bind<path, from_activation>::call,
          .add_activation = Bind<path, add_activation>::call,
          .add = Bind<path, add>::call,
          .scale = Bind<path, scale>::call,
          .router_logits = Bind<path, router_logits>::call,
          .rope = Bind<path, rope>::call,
          .write_kv = Bind<path, write_kv>::call,
          .attention = Bind<path, attention>::call};
}

/// bf16 activations, with any weights: the mode only names them.
template <Numerics numerics>
constexpr ops::Kernels kA16[] = {kernels_of<kPortablePath>(ops::Isa::kPortable, numerics),
                                 kernels_of<kAvx2Path>(ops::Isa::kAvx2, numerics),
                                 kernels_of<kAvx512Path>(ops::Isa::kAvx512, numerics)};
constexpr ops::Kernels kW8A8[] = {kernels_of<kPortableInt8Path>(ops::Isa::kPortable, Numerics::kW8A8),
                                  kernels_of<kAvx2Int8Path>(ops::Isa::kAvx2, Numerics::kW8A8),
                                  kernels_of<kAvx512Int8Path>(ops::Isa::kAvx512, Numerics::kW8A8)};
/// f32 mode has one implementation for all.
constexpr ops::Kernels kF32[] = {kernels_of<kF32Path>(ops::Isa::kPortable, Numerics::kF32),
                                 kernels_of<kF32Path>(ops::Isa::kAvx2, Numerics::kF32),
                                 kernels_of<kF32Path>(ops::Isa::kAvx512, Numerics::kF32)};

}  // namespace

const ops::Kernels& table(ops::Isa isa, Numerics numerics) {
  const ops::Kernels* const modes[] = {kF32, kA16<Numerics::kW8A16>, kW8A8, kA16<Numerics::kW16A16>,
                                       kA16<Numerics::kW4A16>};
  return modes[static_cast<std::size_t>(numerics)][static_cast<std::size_t>(isa)];
}

}  // namespace moesaic::cpu
