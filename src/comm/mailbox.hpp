#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "backend/memory.hpp"
#include "comm/mpi.hpp"

namespace moesaic::comm {

/// Rounds of messages between the ranks of a communicator: in a round each rank sends at most one message to each other
/// rank and gets at most one from each. The receiver knows who sends and the most that may come, not how much: so no
/// sizes are exchanged. A round is: expect() and send() in any order, next() until it returns nothing, finish(); all
/// ranks take part in all rounds, with or without messages. Messages lie in a space that the transport reaches: these
/// ones, of MPI, want the host's view of them, and what kernels have to do with them must have been waited for.
class Mailbox {
 public:
  virtual ~Mailbox() = default;

  struct Arrival {
    int source = 0;
    std::size_t size_bytes = 0;
  };

  /// A message of at most most_bytes will come from `source`, another rank, to `into`.
  virtual void expect(int source, const backend::Slice& into, std::size_t most_bytes) = 0;
  /// data must stay as it is until finish().
  virtual void send(int destination, const backend::Slice& data, std::size_t size_bytes) = 0;
  /// The next message that has come, in any order; waits for one when `may_wait`. Nothing when all that were
  /// expected have been given out (or none is there and it may not wait).
  virtual std::optional<Arrival> next(bool may_wait = true) = 0;
  /// Messages that have not come yet.
  virtual int num_expected() const = 0;
  /// Ends the round: all messages sent have left.
  virtual void finish() = 0;
};

/// Point-to-point messages. A receive into the same place as in the round before is a persistent request.
std::unique_ptr<Mailbox> make_pairwise_mailbox(const Communicator& comm, int tag);

/// One MPI_Alltoall of sizes and one MPI_Alltoallv a round: the reference.
std::unique_ptr<Mailbox> make_alltoallv_mailbox(const Communicator& comm);

/// Bytes and messages that this rank has sent to each world rank through mailboxes and outboxes.
struct Traffic {
  std::vector<std::uint64_t> bytes, messages;
  void add(int world_rank, std::size_t size_bytes);
};
Traffic& traffic();

}  // namespace moesaic::comm
