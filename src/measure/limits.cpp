#include "measure/limits.hpp"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <mutex>
#include <numeric>
#include <thread>

#include "base/range.hpp"
#include "comm/watch.hpp"
#include "host/binding.hpp"

namespace moesaic::measure {
namespace {

using Clock = std::chrono::steady_clock;

/// Calls work(thread) once in each of `num_threads` threads at the same time, in the calling one as thread 0.
template <class Work>
void in_threads(int num_threads, const Work& work) {
  std::vector<std::jthread> threads;
  for (int thread = 1; thread < num_threads; ++thread)
    threads.emplace_back([&work, thread] {
      host::bind_thread(thread);  // as the team's; it would inherit the calling thread's processor
      work(thread);
    });
  work(0);
}

/// Rates (amount / second / 1e9) of something that the threads of all ranks do not share: every thread calls
/// run(thread, pass), which gives an amount, and times itself. The first pass is left out.
template <class Run>
Statistics sample_alone(const comm::Communicator& world, int num_threads, int num_passes, Run&& run) {
  std::vector<double> rates(static_cast<std::size_t>(num_passes));
  std::barrier barrier(num_threads);
  std::mutex adding;
  world.barrier();
  in_threads(num_threads, [&](int thread) {
    for (int pass = -1; pass < num_passes; ++pass) {
      barrier.arrive_and_wait();
      const auto start = Clock::now();
      const double amount = run(thread, std::max(pass, 0));
      const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
      const std::lock_guard lock(adding);
      if (pass >= 0) rates[static_cast<std::size_t>(pass)] += amount / seconds / 1e9;
    }
  });
  world.reduce(rates, MPI_SUM);
  return statistics(rates);
}

/// The same of something that they share: all begin a pass together, and it lasts until the last one has
/// ended.
template <class Run>
Statistics sample_shared(const comm::Communicator& world, int num_threads, int num_passes, Run&& run) {
  std::vector<double> amounts(static_cast<std::size_t>(num_passes)), seconds(amounts.size());
  Clock::time_point start;
  std::barrier barrier(num_threads);
  std::mutex adding;
  in_threads(num_threads, [&](int thread) {
    for (int pass = -1; pass < num_passes; ++pass) {
      barrier.arrive_and_wait();
      if (thread == 0) {  // the only one that may call MPI
        world.barrier();
        start = Clock::now();
      }
      barrier.arrive_and_wait();
      const double amount = run(thread, std::max(pass, 0));
      const double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
      const auto p = static_cast<std::size_t>(std::max(pass, 0));
      const std::lock_guard lock(adding);
      if (pass < 0) continue;
      amounts[p] += amount;
      seconds[p] = std::max(seconds[p], elapsed);
    }
  });
  world.reduce(amounts, MPI_SUM);
  world.reduce(seconds, MPI_MAX);
  for (std::size_t p = 0; p < amounts.size(); ++p) amounts[p] /= seconds[p] * 1e9;
  return statistics(amounts);
}

/// The thread's part of memory, in whole units.
Range part_bytes(std::int64_t size_bytes, int num_threads, int thread) {
  const Range units = even_part(size_bytes / cpu::kReadUnit_bytes, num_threads, thread);
  return {units.begin * cpu::kReadUnit_bytes, units.end * cpu::kReadUnit_bytes};
}

const cpu::MultiplyAddLoop& loop_of(const cpu::PeakLoops& loops, Factors factors) {
  if (factors == Factors::kInt16) return loops.int16;
  return factors == Factors::kF32 ? loops.f32 : factors == Factors::kBf16 ? loops.bf16 : loops.int8;
}

}  // namespace

Factors factors_of(Numerics numerics) {
  switch (input_type(numerics)) {
    case DType::kF32:
      return Factors::kF32;
    case DType::kInt8:
      return Factors::kInt8;
    case DType::kInt16:
      return Factors::kInt16;
    default:
      return Factors::kBf16;
  }
}

Limit multiply_add_peak(const comm::Communicator& world, const cpu::PeakLoops& loops, Factors factors,
                        int num_threads) {
  constexpr std::int64_t kIterations = std::int64_t{1} << 17;  // about a millisecond
  constexpr int kPasses = 51;
  static_assert(kIterations <= cpu::kMostIterations);
  const cpu::MultiplyAddLoop& loop = loop_of(loops, factors);
  const std::int64_t expected = kIterations * loop.per_iteration;
  std::atomic<bool> right = true;
  Limit limit;
  limit.rate = sample_alone(world, num_threads, kPasses, [&](int, int) {
    if (loop.run(kIterations) != expected) right = false;
    return static_cast<double>(expected);
  });
  limit.right = world.min(right) > 0;
  return limit;
}

ReadMemory::ReadMemory(std::int64_t size_bytes, int num_threads)
    : buffer_(static_cast<std::size_t>(size_bytes / cpu::kReadUnit_bytes * cpu::kReadUnit_bytes)) {
  std::atomic<std::uint64_t> sum = 0;
  in_threads(num_threads, [&](int thread) {
    const Range part = part_bytes(size_bytes, num_threads, thread);
    auto* words = reinterpret_cast<std::uint64_t*>(buffer_.data());
    std::uint64_t own_sum = 0;
    for (auto i = static_cast<std::uint64_t>(part.begin / 8); i < static_cast<std::uint64_t>(part.end / 8); ++i)
      own_sum += words[i] = i * 0x9e3779b97f4a7c15u;
    sum += own_sum;
  });
  sum_ = sum;
}

Limit read_bandwidth(const comm::Communicator& world, const cpu::PeakLoops& loops, std::span<const std::byte> memory,
                     int num_threads, std::optional<std::uint64_t> sum, int num_rounds) {
  constexpr int kWindows = 4;  // a pass reads one window of each thread's part
  const auto size_bytes = static_cast<std::int64_t>(memory.size());
  Limit best;
  bool right = true;
  for (std::size_t variant = 0; variant < std::size(cpu::kReadStreams); ++variant) {
    std::vector<std::uint64_t> found(
        static_cast<std::size_t>(kWindows * num_rounds * num_threads));  // (passes, threads)
    const Statistics rate = sample_shared(world, num_threads, kWindows * num_rounds, [&](int thread, int pass) {
      const Range part = part_bytes(size_bytes, num_threads, thread);
      const Range window = part_bytes(part.size(), kWindows, pass % kWindows);
      found[static_cast<std::size_t>(pass * num_threads + thread)] =
          loops.read[variant](memory.data() + part.begin + window.begin, window.size());
      return static_cast<double>(window.size());
    });
    for (int round = 0; round < num_rounds; ++round) {
      const auto first = found.begin() + round * kWindows * num_threads;
      const std::uint64_t total = std::accumulate(first, first + kWindows * num_threads, std::uint64_t{0});
      if (!sum) sum = total;
      right &= total == *sum;
    }
    if (rate.median > best.rate.median) best = {rate, cpu::kReadStreams[variant], true};
  }
  best.right = world.min(right) > 0;
  return best;
}

Limit alltoallv_bandwidth(const comm::Communicator& world, int peer_bytes) {
  const auto ranks = static_cast<std::size_t>(world.size());
  std::vector<int> counts(ranks, peer_bytes), offsets(ranks);
  counts[static_cast<std::size_t>(world.rank())] = 0;
  for (std::size_t rank = 0; rank < ranks; ++rank) offsets[rank] = static_cast<int>(rank) * peer_bytes;
  std::vector<std::uint8_t> send(ranks * static_cast<std::size_t>(peer_bytes),
                                 static_cast<std::uint8_t>(world.rank() + 1));
  std::vector<std::uint8_t> recv(send.size());
  const auto exchange = [&] {
    MOESAIC_MPI(MPI_Alltoallv(send.data(), counts.data(), offsets.data(), MPI_BYTE, recv.data(), counts.data(),
                              offsets.data(), MPI_BYTE, world.handle()));
  };
  constexpr int kSamples = 9;
  constexpr double kSample_bytes = 64 << 20;  // long enough to be timed
  const double bytes = static_cast<double>(peer_bytes) * static_cast<double>(ranks - 1);
  const int calls = std::max(1, static_cast<int>(kSample_bytes / bytes));
  comm::blocking_call("MPI_Alltoallv", exchange);
  std::vector<double> rates;
  for (int i = 0; i < kSamples; ++i)
    rates.push_back(bytes * calls / 1e9 / timed_together(world, [&] {
                      comm::blocking_call("MPI_Alltoallv", [&] {
                        for (int call = 0; call < calls; ++call) exchange();
                      });
                    }));
  bool right = true;
  for (std::size_t i = 0; i < recv.size(); ++i) {
    const std::size_t from = i / static_cast<std::size_t>(peer_bytes);
    right &= from == static_cast<std::size_t>(world.rank()) || recv[i] == static_cast<std::uint8_t>(from + 1);
  }
  return {statistics(rates), 0, world.min(right) > 0};
}

}  // namespace moesaic::measure
