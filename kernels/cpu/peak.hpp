#pragma once

#include <cstddef>
#include <cstdint>

/// Loops that come as near as code can to what a processor gives: the limits that benchmarks compare with.
/// One table an instruction path (kernels/cpu/peak_*.cpp). No inline code here: see kernels/cpu/path.hpp.
namespace moesaic::cpu {

/// Multiplies ones from registers and adds the products up in independent accumulators.
struct MultiplyAddLoop {
  /// Returns the sum of all products, which is the number of multiply-adds: iterations * per_iteration. Exact
  /// up to kMostIterations.
  std::int64_t (*run)(std::int64_t iterations);
  std::int64_t per_iteration;
};
inline constexpr std::int64_t kMostIterations = std::int64_t{1} << 21;

/// Sum (modulo 2^64) of the 64-bit words of memory; size_bytes is a multiple of kReadUnit_bytes.
using ReadLoop = std::uint64_t (*)(const std::byte* from, std::int64_t size_bytes);
inline constexpr std::int64_t kReadUnit_bytes = 1024;

/// How many places of its memory a ReadLoop reads by turns.
inline constexpr int kReadStreams[] = {1, 4, 16};

struct PeakLoops {
  MultiplyAddLoop f32;    ///< fp32 * fp32 + fp32
  MultiplyAddLoop bf16;   ///< bf16 * bf16 + fp32; where a path has no instruction for it, the fp32 one
  MultiplyAddLoop int8;   ///< uint8 * int8 + int32
  MultiplyAddLoop int16;  ///< int16 * int16 + int32
  ReadLoop read[3];       ///< by kReadStreams
};

}  // namespace moesaic::cpu
