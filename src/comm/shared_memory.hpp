#pragma once

#include <atomic>
#include <cstddef>

#include "comm/mpi.hpp"
#include "comm/wait.hpp"

namespace moesaic::comm {

/// Memory that the ranks of a communicator on one node share: a segment of each, which all can read.
class SharedMemory {
 public:
  /// Collective over `comm`, whose ranks share a node.
  explicit SharedMemory(Communicator comm);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  /// Collective, with the same size on all ranks: makes room for size_bytes in each segment; contents are lost when it
  /// has to grow.
  void reserve(std::size_t size_bytes);
  /// A rank's segment.
  std::byte* of(int rank) const { return segments_[static_cast<std::size_t>(rank)] + kHeader_bytes; }
  int rank() const { return comm_.rank(); }

  /// Until all ranks are here: what each has written before is seen by all after. progress() is called while waiting.
  template <class Progress>
  void barrier(Progress&& progress) {
    arrive();
    wait_until({"shared memory", &missing_, comm_.world_ranks()}, [&] {
      progress();
      return all_here();
    });
  }

 private:
  static constexpr std::size_t kHeader_bytes = 64;
  using Epoch = std::atomic<std::uint64_t>;  ///< in the header: barriers that a rank has come to

  void release();
  void arrive();
  bool all_here();
  Epoch& epoch(std::size_t rank) const { return *reinterpret_cast<Epoch*>(segments_[rank]); }

  Communicator comm_;
  MPI_Win window_ = MPI_WIN_NULL;
  std::size_t size_bytes_ = 0;
  std::vector<std::byte*> segments_;  // by rank
  std::uint64_t epoch_ = 0;
  std::vector<int> missing_;  // world ranks that are not at the barrier yet
};

}  // namespace moesaic::comm
