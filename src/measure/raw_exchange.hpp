#pragma once

#include <vector>

#include "base/aligned_buffer.hpp"
#include "comm/mpi.hpp"
#include "plan/dispatch_traffic.hpp"

namespace moesaic::measure {

/// What MPI itself needs for the same bytes, in the same job: nothing is packed, planned or added.
enum class RawExchange {
  kAlltoallv,  ///< MPI_Alltoallv with the bytes of each pair, as if all ranks knew them
  kPadded,     ///< MPI_Alltoall, each pair as large as the largest
  kPairwise,   ///< MPI_Isend and MPI_Irecv of the messages that there are: the floor of point-to-point messages
};

/// Dispatch, then combine, of some steps.
class RawExchanges {
 public:
  RawExchanges(const comm::Communicator& world, RawExchange kind, const std::vector<plan::DispatchTraffic>& steps);
  ~RawExchanges();

  /// Whether any bytes travel.
  bool travels() const { return travels_; }
  /// Collective: microseconds of the slowest rank.
  double time_us(std::size_t step);

 private:
  struct Exchange;
  void run(const Exchange& exchange);

  const comm::Communicator& world_;
  const RawExchange kind_;
  std::vector<Exchange> exchanges_;  // two a step
  AlignedBuffer send_, recv_;
  bool travels_ = false;
};

}  // namespace moesaic::measure
