#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "comm/mailbox.hpp"

/// Moving rows of a fixed size between the ranks of a communicator. What goes where is the caller's business (plan).
namespace moesaic::comm {

/// Collective exchanges over one communicator; counts are known on both sides. Pairwise messages.
class RowExchange {
 public:
  explicit RowExchange(const Communicator& comm);

  /// send: rows for rank 0, then for rank 1, ...; recv likewise by source. Counts have one entry a rank.
  void all_to_all(const void* send, std::span<const std::int32_t> num_send_rows, void* recv,
                  std::span<const std::int32_t> num_recv_rows, std::size_t row_bytes);

  /// recv: every rank's rows in rank order.
  void all_gather(const void* send, void* recv, std::span<const std::int32_t> num_rows, std::size_t row_bytes);

  const Communicator& comm() const { return comm_; }

 private:
  struct Part {
    std::size_t offset, size;  ///< in bytes
  };
  static void lay_out(std::span<const std::int32_t> num_rows, std::size_t row_bytes, std::vector<Part>& parts);
  void exchange(const std::byte* send, std::byte* recv);

  const Communicator& comm_;
  std::unique_ptr<Mailbox> mailbox_;
  std::vector<Part> sends_, recvs_;  // by rank
};

/// Messages under way to other ranks, which take them by receive() of comm/mpi.hpp; a message's bytes are kept until it
/// has left.
class Outbox {
 public:
  explicit Outbox(const Communicator& comm) : comm_(comm) {}
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;
  /// Waits for what is still under way.
  ~Outbox();

  void post(std::vector<std::byte> bytes, int destination, int tag);
  /// Waits until at most `most_bytes` are under way.
  void drain(std::size_t most_bytes = 0);

 private:
  struct Message {
    std::vector<std::byte> bytes;
    std::vector<int> destination;  // world rank
    std::vector<MPI_Request> requests;
  };
  const Communicator& comm_;
  std::deque<Message> messages_;
  std::size_t pending_bytes_ = 0;
};

}  // namespace moesaic::comm
