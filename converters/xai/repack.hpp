#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "io/tensor_inventory.hpp"
#include "xai/parameters.hpp"

namespace moesaic::converters {

/// Consecutive whole pieces of a tensor of the store, and the part of the source that they came from.
struct Repacked {
  std::int64_t first_piece = 0;
  std::span<const std::byte> bytes;
  std::span<const std::byte> source;
};

/// Cuts a parameter's weights into the pieces of the store, a matrix or some 64 MiB at a time. `payload`: row-major or
/// column-major elements of parameter.shape, any alignment. `take` must be done with the bytes when it returns.
void repack(const XaiParameter& parameter, const io::TensorSpec& spec, bool fortran_order,
            std::span<const std::byte> payload, const std::function<void(const Repacked&)>& take);

/// The scales as float32, row-major (bfloat16 values are exact). Error naming the position of a NaN or infinity.
std::vector<float> repack_scales(const PickledArray& scales, std::span<const std::byte> payload,
                                 const std::string& what);

/// Error naming the position of the first NaN or infinity among float32 values.
void check_finite(std::span<const std::byte> values, std::int64_t first_elem, const std::string& what);

}  // namespace moesaic::converters
