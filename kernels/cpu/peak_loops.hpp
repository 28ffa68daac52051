#pragma once

#include "peak_tables.hpp"

/// What the files of all paths make their loops of. In an anonymous namespace: each file has its own copy,
/// compiled for its own instruction set (path.hpp).
namespace moesaic::cpu {
namespace {

/// Repeats multiply_add(accumulator) on kAccumulators of them and returns the sum of all their elements.
/// Vector is a GNU vector of float or int.
template <int kAccumulators, class Vector, class MultiplyAdd>
std::int64_t repeat(std::int64_t iterations, MultiplyAdd multiply_add) {
  Vector acc[kAccumulators] = {};
  for (std::int64_t i = 0; i < iterations; ++i)
#pragma GCC unroll 24
    for (int a = 0; a < kAccumulators; ++a) multiply_add(acc[a]);
  Vector sums[kAccumulators];  // a copy, so that the accumulators themselves stay in registers
#pragma GCC unroll 24
  for (int a = 0; a < kAccumulators; ++a) sums[a] = acc[a];
  std::int64_t sum = 0;
  for (const Vector& vector : sums)
    for (std::size_t e = 0; e < sizeof(Vector) / 4; ++e) sum += static_cast<std::int64_t>(vector[e]);
  return sum;
}

/// Vector: a GNU vector of 64-bit words that may alias. Sixteen loads an iteration, spread over kStreams
/// equal parts.
template <class Vector, int kStreams>
std::uint64_t read_streams(const std::byte* from, std::int64_t size_bytes) {
  constexpr std::int64_t kLoads = 16 / kStreams;
  const auto* data = reinterpret_cast<const Vector*>(from);
  const std::int64_t part = size_bytes / static_cast<std::int64_t>(sizeof(Vector)) / kStreams;
  Vector acc[16] = {};
  for (std::int64_t i = 0; i < part; i += kLoads)
#pragma GCC unroll 16
    for (int s = 0; s < kStreams; ++s)
#pragma GCC unroll 16
      for (std::int64_t k = 0; k < kLoads; ++k) acc[s * kLoads + k] += data[s * part + i + k];
  Vector sums[16];
#pragma GCC unroll 16
  for (int a = 0; a < 16; ++a) sums[a] = acc[a];
  std::uint64_t sum = 0;
  for (const Vector& vector : sums)
    for (std::size_t e = 0; e < sizeof(Vector) / 8; ++e) sum += vector[e];
  return sum;
}

}  // namespace
}  // namespace moesaic::cpu
