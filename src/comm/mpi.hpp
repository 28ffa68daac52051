#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "comm/mpi_call.hpp"

namespace moesaic::comm {

/// Calls transfer(offset_bytes, part_bytes) for the parts that a message of size_bytes travels in: counts must fit an
/// int.
template <class Transfer>
void for_each_part(std::size_t size_bytes, Transfer&& transfer) {
  constexpr std::size_t kLargestPart_bytes = std::size_t{1} << 30;
  for (std::size_t done = 0; done < size_bytes; done += kLargestPart_bytes)
    transfer(done, static_cast<int>(std::min(kLargestPart_bytes, size_bytes - done)));
}

/// A communicator that this object may own; move-only.
class Communicator {
 public:
  static Communicator world();
  static Communicator self();  ///< this rank alone

  Communicator(Communicator&& other) noexcept;
  Communicator& operator=(Communicator&& other) noexcept;
  ~Communicator();

  MPI_Comm handle() const { return comm_; }
  int rank() const { return rank_; }
  int size() const { return size_; }
  /// World ranks of this communicator's ranks, indexed by rank.
  const std::vector<int>& world_ranks() const { return world_ranks_; }

  /// Collective: a communicator of the ranks that give the same colour, ordered by their rank here.
  Communicator split(int color) const;
  /// Collective: a communicator of the ranks of this rank's node, ordered by their rank here, as MPI has it (a job
  /// checks that once: comm/locality.hpp).
  Communicator split_node() const;

  /// A look at MPI that lets all messages under way go on; Open MPI moves long ones only while their ranks call it.
  void progress() const;
  void barrier() const;
  /// Sends `bytes` from root to all; elsewhere it is resized.
  void broadcast(std::vector<std::byte>& bytes, int root) const;
  void broadcast(std::string& text, int root) const;
  /// Concatenates every rank's bytes at root in rank order; sizes may differ. Empty elsewhere.
  std::vector<std::vector<std::byte>> gather(std::span<const std::byte> bytes, int root) const;
  double max(double value) const;
  double min(double value) const;
  double sum(double value) const;
  /// Combines each element over all ranks, in place, on all ranks.
  void reduce(std::span<double> values, MPI_Op op) const;
  void bitwise_or(std::span<std::uint8_t> values) const;

 private:
  Communicator(MPI_Comm comm, bool owned);

  MPI_Comm comm_ = MPI_COMM_NULL;
  bool owned_ = false;
  int rank_ = 0;
  int size_ = 1;
  std::vector<int> world_ranks_;
};

/// Sends a message and waits until it has left.
void send(const Communicator& comm, std::span<const std::byte> bytes, int destination, int tag);
/// Waits for a message of bytes.size() bytes.
void receive(const Communicator& comm, std::span<std::byte> bytes, int source, int tag);

}  // namespace moesaic::comm
