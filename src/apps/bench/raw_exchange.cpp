#include "apps/bench/raw_exchange.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "apps/bench/limits.hpp"
#include "base/aligned_buffer.hpp"

namespace moesaic::apps::bench {
namespace {

/// One exchange of a rank: bytes to and from each other.
struct Exchange {
  std::vector<int> send_counts, send_offsets, recv_counts, recv_offsets;
  int largest = 0;  // of all pairs
};

int as_count(std::uint64_t bytes) {
  if (bytes > static_cast<std::uint64_t>(std::numeric_limits<int>::max()))
    fail("{} bytes in one MPI call; give fewer rows", bytes);
  return static_cast<int>(bytes);
}

Exchange seen_from(int me, const plan::PairTraffic& traffic) {
  Exchange exchange;
  std::uint64_t sent = 0, received = 0, largest = 0;
  for (int peer = 0; peer < traffic.num_ranks; ++peer) {
    const std::uint64_t to = traffic.bytes[traffic.at(plan::StageRank{me}, plan::StageRank{peer})];
    const std::uint64_t from = traffic.bytes[traffic.at(plan::StageRank{peer}, plan::StageRank{me})];
    exchange.send_counts.push_back(as_count(to));
    exchange.recv_counts.push_back(as_count(from));
    exchange.send_offsets.push_back(as_count(std::exchange(sent, sent + to)));
    exchange.recv_offsets.push_back(as_count(std::exchange(received, received + from)));
  }
  for (const std::uint64_t bytes : traffic.bytes) largest = std::max(largest, bytes);
  exchange.largest = as_count(largest);
  as_count(largest * static_cast<std::uint64_t>(traffic.num_ranks));
  return exchange;
}

class Buffers {
 public:
  Buffers(const std::vector<Exchange>& exchanges, bool padded) {
    std::size_t send_bytes = 1, recv_bytes = 1;
    for (const Exchange& exchange : exchanges) {
      const std::size_t all = padded ? static_cast<std::size_t>(exchange.largest) * exchange.send_counts.size() : 0;
      const auto end = [](const auto& offsets, const auto& counts) {
        return static_cast<std::size_t>(offsets.back()) + static_cast<std::size_t>(counts.back());
      };
      send_bytes = std::max({send_bytes, all, end(exchange.send_offsets, exchange.send_counts)});
      recv_bytes = std::max({recv_bytes, all, end(exchange.recv_offsets, exchange.recv_counts)});
    }
    send_.reserve(send_bytes);
    recv_.reserve(recv_bytes);
    std::memset(send_.data(), 1, send_bytes);
    std::memset(recv_.data(), 0, recv_bytes);
  }
  std::byte* send() { return send_.data(); }
  std::byte* recv() { return recv_.data(); }

 private:
  AlignedBuffer send_, recv_;
};

void run(const comm::Communicator& world, RawExchange kind, const Exchange& x, Buffers& buffers) {
  switch (kind) {
    case RawExchange::kAlltoallv:
      MOESAIC_MPI(MPI_Alltoallv(buffers.send(), x.send_counts.data(), x.send_offsets.data(), MPI_BYTE, buffers.recv(),
                                x.recv_counts.data(), x.recv_offsets.data(), MPI_BYTE, world.handle()));
      return;
    case RawExchange::kPadded:
      MOESAIC_MPI(
          MPI_Alltoall(buffers.send(), x.largest, MPI_BYTE, buffers.recv(), x.largest, MPI_BYTE, world.handle()));
      return;
    case RawExchange::kPairwise:
      break;
  }
  constexpr int kTag = 9;
  std::vector<MPI_Request> requests;
  for (std::size_t i = 0; i < x.recv_counts.size(); ++i)
    if (x.recv_counts[i] > 0)
      MOESAIC_MPI(MPI_Irecv(buffers.recv() + x.recv_offsets[i], x.recv_counts[i], MPI_BYTE, static_cast<int>(i), kTag,
                            world.handle(), &requests.emplace_back()));
  for (std::size_t k = 1; k < x.send_counts.size(); ++k)
    if (const std::size_t i = (static_cast<std::size_t>(world.rank()) + k) % x.send_counts.size(); x.send_counts[i] > 0)
      MOESAIC_MPI(MPI_Isend(buffers.send() + x.send_offsets[i], x.send_counts[i], MPI_BYTE, static_cast<int>(i), kTag,
                            world.handle(), &requests.emplace_back()));
  MOESAIC_MPI(MPI_Waitall(static_cast<int>(requests.size()), requests.data(), MPI_STATUSES_IGNORE));
}

}  // namespace

std::vector<double> time_raw(const comm::Communicator& world, RawExchange kind,
                             const std::vector<plan::DispatchTraffic>& steps, std::int64_t warmup,
                             std::int64_t repetitions) {
  std::vector<Exchange> exchanges;
  for (const plan::DispatchTraffic& step : steps)
    for (const plan::PairTraffic* part : {&step.dispatch, &step.combine})
      exchanges.push_back(seen_from(world.rank(), *part));
  Buffers buffers(exchanges, kind == RawExchange::kPadded);
  std::vector<double> times_us;
  for (std::int64_t i = 0; i < warmup + repetitions; ++i) {
    const std::size_t first = 2 * (static_cast<std::size_t>(i) % steps.size());
    const double seconds = timed_together(world, [&] {
      for (const std::size_t part : {first, first + 1}) run(world, kind, exchanges[part], buffers);
    });
    if (i >= warmup) times_us.push_back(seconds * 1e6);
  }
  return times_us;
}

}  // namespace moesaic::apps::bench
