#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "backend/queue.hpp"
#include "comm/mailbox.hpp"

/// Moving rows of a fixed size between the ranks of a communicator. What goes where is the caller's business (plan).
namespace moesaic::comm {

/// Collective exchanges over one communicator; counts are known on both sides. Pairwise messages. What kernels launched
/// before do to the rows is waited for. Rows that the host cannot reach are staged: copied to and from pinned memory.
class RowExchange {
 public:
  /// memory, queue: of the rows; they outlive the exchange.
  RowExchange(const Communicator& comm, backend::Memory& memory, backend::Queue& queue);

  /// send: rows for rank 0, then for rank 1, ...; recv likewise by source. Counts have one entry a rank.
  void all_to_all(const backend::Slice& send, std::span<const std::int32_t> num_send_rows, const backend::Slice& recv,
                  std::span<const std::int32_t> num_recv_rows, std::size_t row_bytes);

  /// recv: every rank's rows in rank order.
  void all_gather(const backend::Slice& send, const backend::Slice& recv, std::span<const std::int32_t> num_rows,
                  std::size_t row_bytes);

 private:
  struct Part {
    std::size_t offset, size;  ///< in bytes
  };
  static void lay_out(std::span<const std::int32_t> num_rows, std::size_t row_bytes, std::vector<Part>& parts);
  void exchange(const backend::Slice& send, const backend::Slice& recv);
  void exchange_on_host(const backend::Slice& send, const backend::Slice& recv);

  const Communicator& comm_;
  std::unique_ptr<Mailbox> mailbox_;
  backend::Queue& queue_;
  backend::Buffer send_stage_, recv_stage_;
  std::vector<Part> sends_, recvs_;  // where the rows to and from each rank lie
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

  /// bytes: within the host's reach; what kernels have to do with them has been waited for. Their first size_bytes are
  /// sent.
  void post(backend::Buffer bytes, std::size_t size_bytes, int destination, int tag);
  /// Waits until at most `most_bytes` are under way.
  void drain(std::size_t most_bytes = 0);

 private:
  struct Message {
    backend::Buffer bytes;
    std::size_t size_bytes;
    std::vector<int> destination;  // world rank
    std::vector<MPI_Request> requests;
  };
  const Communicator& comm_;
  std::deque<Message> messages_;
  std::size_t pending_bytes_ = 0;
};

}  // namespace moesaic::comm
