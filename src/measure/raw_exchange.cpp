#include "measure/raw_exchange.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "base/aligned_buffer.hpp"
#include "measure/limits.hpp"

namespace moesaic::measure {
namespace {

int as_count(std::uint64_t bytes) {
  if (bytes > static_cast<std::uint64_t>(std::numeric_limits<int>::max()))
    fail("{} bytes in one MPI call; give fewer rows", bytes);
  return static_cast<int>(bytes);
}

}  // namespace

/// One exchange of a rank: bytes to and from each other.
struct RawExchanges::Exchange {
  std::vector<int> send_counts, send_offsets, recv_counts, recv_offsets;
  int largest = 0;  // of all pairs

  Exchange(plan::StageRank me, const plan::PairTraffic& traffic);
};

RawExchanges::Exchange::Exchange(plan::StageRank me, const plan::PairTraffic& traffic) {
  std::uint64_t sent = 0, received = 0, most = 0;
  for (const plan::StageRank peer : traffic.ranks()) {
    const std::uint64_t to = traffic.bytes[traffic.at(me, peer)], from = traffic.bytes[traffic.at(peer, me)];
    send_counts.push_back(as_count(to));
    recv_counts.push_back(as_count(from));
    send_offsets.push_back(as_count(std::exchange(sent, sent + to)));
    recv_offsets.push_back(as_count(std::exchange(received, received + from)));
  }
  for (const std::uint64_t bytes : traffic.bytes) most = std::max(most, bytes);
  this->largest = as_count(most);
  as_count(most * static_cast<std::uint64_t>(traffic.num_ranks));
}

RawExchanges::RawExchanges(const comm::Communicator& world, RawExchange kind,
                           const std::vector<plan::DispatchTraffic>& steps)
    : world_(world), kind_(kind) {
  std::size_t send_bytes = 1, recv_bytes = 1;
  for (const plan::DispatchTraffic& step : steps)
    for (const plan::PairTraffic* part : {&step.dispatch, &step.combine}) {
      const Exchange& exchange = exchanges_.emplace_back(plan::StageRank(world.rank()), *part);
      travels_ |= exchange.largest > 0;
      const bool padded = kind == RawExchange::kPadded;
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

RawExchanges::~RawExchanges() = default;

double RawExchanges::time_us(std::size_t step) {
  return 1e6 * timed_together(world_, [&] {
           for (const std::size_t part : {2 * step, 2 * step + 1}) run(exchanges_[part]);
         });
}

void RawExchanges::run(const Exchange& x) {
  switch (kind_) {
    case RawExchange::kAlltoallv:
      MOESAIC_MPI(MPI_Alltoallv(send_.data(), x.send_counts.data(), x.send_offsets.data(), MPI_BYTE, recv_.data(),
                                x.recv_counts.data(), x.recv_offsets.data(), MPI_BYTE, world_.handle()));
      return;
    case RawExchange::kPadded:
      MOESAIC_MPI(MPI_Alltoall(send_.data(), x.largest, MPI_BYTE, recv_.data(), x.largest, MPI_BYTE, world_.handle()));
      return;
    case RawExchange::kPairwise:
      break;
  }
  constexpr int kTag = 9;
  std::vector<MPI_Request> requests;
  for (std::size_t i = 0; i < x.recv_counts.size(); ++i)
    if (x.recv_counts[i] > 0)
      MOESAIC_MPI(MPI_Irecv(recv_.data() + x.recv_offsets[i], x.recv_counts[i], MPI_BYTE, static_cast<int>(i), kTag,
                            world_.handle(), &requests.emplace_back()));
  for (std::size_t k = 1; k < x.send_counts.size(); ++k)
    if (const std::size_t i = (static_cast<std::size_t>(world_.rank()) + k) % x.send_counts.size();
        x.send_counts[i] > 0)
      MOESAIC_MPI(MPI_Isend(send_.data() + x.send_offsets[i], x.send_counts[i], MPI_BYTE, static_cast<int>(i), kTag,
                            world_.handle(), &requests.emplace_back()));
  MOESAIC_MPI(MPI_Waitall(static_cast<int>(requests.size()), requests.data(), MPI_STATUSES_IGNORE));
}

}  // namespace moesaic::measure
