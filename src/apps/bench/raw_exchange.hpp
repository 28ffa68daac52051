#pragma once

#include <vector>

#include "comm/mpi.hpp"
#include "plan/dispatch_traffic.hpp"

namespace moesaic::apps::bench {

/// What MPI itself needs for the same bytes, in the same job: nothing is packed, planned or added.
enum class RawExchange {
  kAlltoallv,  ///< MPI_Alltoallv with the bytes of each pair, as if all ranks knew them
  kPadded,     ///< MPI_Alltoall, each pair as large as the largest
  kPairwise,   ///< MPI_Isend and MPI_Irecv of the messages that there are: the floor of point-to-point messages
};

/// Collective: dispatch, then combine; microseconds of the slowest rank, by repetition, which take the steps in turn.
std::vector<double> time_raw(const comm::Communicator& world, RawExchange kind,
                             const std::vector<plan::DispatchTraffic>& steps, std::int64_t warmup,
                             std::int64_t repetitions);

}  // namespace moesaic::apps::bench
