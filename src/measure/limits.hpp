#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/aligned_buffer.hpp"
#include "comm/mpi.hpp"
#include "config/numerics.hpp"
#include "cpu/peak_tables.hpp"
#include "measure/statistics.hpp"

/// What the machine can do at most, measured by all ranks of a job at the same time.
namespace moesaic::measure {

struct Limit {
  Statistics rate;      ///< GB/s or GMAC/s of all ranks together
  int num_streams = 0;  ///< reading: the best number of places read by turns
  bool right = true;    ///< the loops' results were as they must be, on all ranks
};

/// The type of the factors of multiply-adds.
enum class Factors : std::uint8_t { kF32, kBf16, kInt8, kInt16 };
inline constexpr Factors kAllFactors[] = {Factors::kF32, Factors::kBf16, Factors::kInt8, Factors::kInt16};
constexpr const char* name(Factors factors) {
  constexpr const char* kNames[] = {"fp32", "bf16", "int8", "int16"};
  return kNames[static_cast<std::size_t>(factors)];
}
/// The factors that the matrix products of a numeric mode are made of.
Factors factors_of(Numerics numerics);

/// Collective: multiply-adds from registers, GMAC/s.
Limit multiply_add_peak(const comm::Communicator& world, const cpu::PeakLoops& loops, Factors factors, int num_threads);

/// Memory to be read, in huge pages where the system has them; each of num_threads threads wrote the part
/// that it reads.
class ReadMemory {
 public:
  ReadMemory(std::int64_t size_bytes, int num_threads);
  std::span<const std::byte> bytes() const { return {buffer_.data(), buffer_.size_bytes()}; }
  std::uint64_t sum() const { return sum_; }

 private:
  AlignedBuffer buffer_;
  std::uint64_t sum_ = 0;  // sum of the 64-bit words
};

/// Collective: reading memory from end to end `num_rounds` times, GB/s of the best number of streams. sum: what must
/// come out, where it is known; otherwise all passes must agree.
Limit read_bandwidth(const comm::Communicator& world, const cpu::PeakLoops& loops, std::span<const std::byte> memory,
                     int num_threads, std::optional<std::uint64_t> sum = std::nullopt, int num_rounds = 4);

/// Collective: MPI_Alltoallv in which every rank sends peer_bytes to every other one and nothing to itself; GB/s that
/// leave a rank.
Limit alltoallv_bandwidth(const comm::Communicator& world, int peer_bytes);

/// Memory that a benchmark of reading goes through: less would be read from caches.
inline constexpr std::int64_t kReadMemory_bytes = std::int64_t{1} << 30;

/// Collective: runs `work` on all ranks, which begin together; seconds of the slowest.
template <class Work>
double timed_together(const comm::Communicator& world, Work&& work) {
  world.barrier();
  const auto start = std::chrono::steady_clock::now();
  work();
  return world.max(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
}

}  // namespace moesaic::measure
