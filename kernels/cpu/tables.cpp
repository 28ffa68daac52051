#include "tables.hpp"

#include "drivers.hpp"

namespace moesaic::cpu {
namespace {

using backend::Kernels;
using backend::Queue;

/// What a driver gets for a kernel's argument: here addresses can be looked at, and kernels run when they are launched.
template <class T>
T* at_hand(backend::Ptr<T> ptr) {
  return ptr.address();
}
inline PackedMatrix at_hand(const backend::Matrix& w) { return PackedMatrix(w); }
template <class T>
const T& at_hand(const T& argument) {
  return argument;
}

/// A kernel as its driver on one path.
template <const Path& path, auto kernel, auto driver>
struct Bind;
template <const Path& path, class... Args, void (*Kernels::*kernel)(Queue&, Args...), auto driver>
struct Bind<path, kernel, driver> {
  static void call(Queue&, Args... args) { driver(path, at_hand(args)...); }
};

template <const Path& path>
constexpr Kernels kKernels = {
    .rms_norm = Bind<path, &Kernels::rms_norm, rms_norm>::call,
    .to_input = Bind<path, &Kernels::to_input, to_input>::call,
    .to_activation = Bind<path, &Kernels::to_activation, to_activation>::call,
    .add = Bind<path, &Kernels::add, add>::call,
    .scale = Bind<path, &Kernels::scale, scale>::call,
    .gather_rows = Bind<path, &Kernels::gather_rows, gather_rows>::call,
    .finish_tree = Bind<path, &Kernels::finish_tree, finish_tree>::call,
    .gemm = Bind<path, &Kernels::gemm, gemm>::call,
    .grouped_gemm = Bind<path, &Kernels::grouped_gemm, grouped_gemm>::call,
    .grouped_gated_gelu = Bind<path, &Kernels::grouped_gated_gelu, grouped_gated_gelu>::call,
    .rope = Bind<path, &Kernels::rope, rope>::call,
    .write_kv = Bind<path, &Kernels::write_kv, write_kv>::call,
    .attention = Bind<path, &Kernels::attention, attention>::call,
    .route = Bind<path, &Kernels::route, route>::call,
    .encode_rows = Bind<path, &Kernels::encode_rows, encode_rows>::call,
    .permute = Bind<path, &Kernels::permute, permute>::call,
    .write_pieces = Bind<path, &Kernels::write_pieces, write_pieces>::call,
    .combine_rows = Bind<path, &Kernels::combine_rows, combine_rows>::call,
    .gather_columns = Bind<path, &Kernels::gather_columns, gather_columns>::call,
    .scatter_activations = Bind<path, &Kernels::scatter_activations, scatter_activations>::call,
    .block_sums = Bind<path, &Kernels::block_sums, block_sums>::call,
};

}  // namespace

/// bf16 and int16 activations have the same kernels with any weights, f32 mode one implementation for all paths.
const Kernels& table(Isa isa, Numerics numerics) {
  static constexpr const Kernels* kA16[] = {&kKernels<kPortablePath>, &kKernels<kAvx2Path>, &kKernels<kAvx512Path>};
  static constexpr const Kernels* kW8A8[] = {&kKernels<kPortableInt8Path>, &kKernels<kAvx2Int8Path>,
                                             &kKernels<kAvx512Int8Path>};
  static constexpr const Kernels* kI16[] = {&kKernels<kPortableInt16Path>, &kKernels<kAvx2Int16Path>,
                                            &kKernels<kAvx512Int16Path>};
  const auto path = static_cast<std::size_t>(isa);
  if (numerics == Numerics::kF32) return kKernels<kF32Path>;
  if (activation_type(numerics) == DType::kInt16) return *kI16[path];
  return *(numerics == Numerics::kW8A8 ? kW8A8 : kA16)[path];
}

}  // namespace moesaic::cpu
