#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <vector>

#include "comm/mpi.hpp"

/// Moving rows of a fixed size between the ranks of a communicator. What goes where is the caller's business (plan).
namespace moesaic::comm {

/// An MPI datatype of one row, so that counts are rows and fit an int.
class RowType {
 public:
  explicit RowType(std::size_t row_bytes);
  RowType(RowType&& other) noexcept;
  RowType& operator=(RowType&&) = delete;
  ~RowType();
  MPI_Datatype handle() const { return type_; }

 private:
  MPI_Datatype type_ = MPI_DATATYPE_NULL;
};

/// Collective exchanges over one communicator; counts are known on both sides.
class RowExchange {
 public:
  explicit RowExchange(const Communicator& comm) : comm_(comm) {}

  /// send: rows for rank 0, then for rank 1, ...; recv likewise by source. Counts have one entry a rank.
  void all_to_all(const void* send, std::span<const std::int32_t> num_send_rows, void* recv,
                  std::span<const std::int32_t> num_recv_rows, std::size_t row_bytes);

  /// recv: every rank's rows in rank order.
  void all_gather(const void* send, void* recv, std::span<const std::int32_t> num_rows, std::size_t row_bytes);

  const Communicator& comm() const { return comm_; }

 private:
  MPI_Datatype row_type(std::size_t row_bytes);

  const Communicator& comm_;
  std::map<std::size_t, RowType> row_types_;
  std::vector<int> send_offsets_, recv_offsets_;
};

/// Messages under way to other ranks; a message's bytes are kept until it has left.
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
    std::vector<MPI_Request> requests;
  };
  const Communicator& comm_;
  std::deque<Message> messages_;
  std::size_t pending_bytes_ = 0;
};

/// Receives exactly this many bytes (sent by Outbox::post).
void receive(const Communicator& comm, std::span<std::byte> bytes, int source, int tag);

}  // namespace moesaic::comm
