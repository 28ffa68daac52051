#include "comm/exchange.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "comm/wait.hpp"

namespace moesaic::comm {
namespace {

constexpr int kRowsTag = 4;

/// The end of the last of parts that may overlap.
template <class Parts>
std::size_t extent(const Parts& parts) {
  std::size_t end = 0;
  for (const auto& part : parts) end = std::max(end, part.offset + part.size);
  return end;
}

}  // namespace

RowExchange::RowExchange(const Communicator& comm, backend::Memory& memory, backend::Queue& queue)
    : comm_(comm),
      mailbox_(make_pairwise_mailbox(comm, kRowsTag)),
      queue_(queue),
      send_stage_(memory, backend::Space::kPinned),
      recv_stage_(memory, backend::Space::kPinned) {}

/// Rows of all ranks, one rank's behind another's.
void RowExchange::lay_out(std::span<const std::int32_t> num_rows, std::size_t row_bytes, std::vector<Part>& parts) {
  parts.clear();
  std::size_t offset = 0;
  for (const auto count : num_rows) {
    parts.push_back({offset, static_cast<std::size_t>(count) * row_bytes});
    offset += parts.back().size;
  }
}

void RowExchange::all_to_all(const backend::Slice& send, std::span<const std::int32_t> num_send_rows,
                             const backend::Slice& recv, std::span<const std::int32_t> num_recv_rows,
                             std::size_t row_bytes) {
  lay_out(num_send_rows, row_bytes, sends_);
  lay_out(num_recv_rows, row_bytes, recvs_);
  exchange(send, recv);
}

void RowExchange::all_gather(const backend::Slice& send, const backend::Slice& recv,
                             std::span<const std::int32_t> num_rows, std::size_t row_bytes) {
  lay_out(num_rows, row_bytes, recvs_);
  sends_.assign(num_rows.size(), {0, recvs_[static_cast<std::size_t>(comm_.rank())].size});
  exchange(send, recv);
}

void RowExchange::exchange(const backend::Slice& send, const backend::Slice& recv) {
  backend::Slice out = send, in = recv;
  const std::size_t send_bytes = extent(sends_), recv_bytes = extent(recvs_);
  if (!send.host && send_bytes > 0) {
    send_stage_.reserve(send_bytes);
    out = send_stage_.slice();
    queue_.copy(out.data, send.data, send_bytes);
  }
  const bool stages_recv = !recv.host && recv_bytes > 0;
  if (stages_recv) {
    recv_stage_.reserve(recv_bytes);
    in = recv_stage_.slice();
  }
  queue_.wait();
  exchange_on_host(out, in);
  if (stages_recv) queue_.copy(recv.data, in.data, recv_bytes);
}

/// Peers in turn from the next rank on, so that not all begin with the same one.
void RowExchange::exchange_on_host(const backend::Slice& send, const backend::Slice& recv) {
  const int ranks = comm_.size(), me = comm_.rank();
  for (int k = 1; k < ranks; ++k) {
    const int source = (me + ranks - k) % ranks;
    const Part& part = recvs_[static_cast<std::size_t>(source)];
    if (part.size > 0) mailbox_->expect(source, recv + part.offset, part.size);
  }
  for (int k = 1; k < ranks; ++k) {
    const int destination = (me + k) % ranks;
    const Part& part = sends_[static_cast<std::size_t>(destination)];
    if (part.size > 0) mailbox_->send(destination, send + part.offset, part.size);
  }
  const Part &from = sends_[static_cast<std::size_t>(me)], &to = recvs_[static_cast<std::size_t>(me)];
  if (to.size > 0) std::memcpy(recv.host + to.offset, send.host + from.offset, to.size);
  while (mailbox_->next()) {
  }
  mailbox_->finish();
}

Outbox::~Outbox() { drain(); }

void Outbox::post(backend::Buffer bytes, std::size_t size_bytes, int destination, int tag) {
  Message& message = messages_.emplace_back(
      Message{std::move(bytes), size_bytes, {comm_.world_ranks()[static_cast<std::size_t>(destination)]}, {}});
  for_each_part(size_bytes, [&](std::size_t offset, int count) {
    MOESAIC_MPI(MPI_Isend(message.bytes.host() + offset, count, MPI_BYTE, destination, tag, comm_.handle(),
                          &message.requests.emplace_back()));
  });
  pending_bytes_ += size_bytes;
  traffic().add(message.destination[0], size_bytes);
}

void Outbox::drain(std::size_t most_bytes) {
  while (!messages_.empty() && (pending_bytes_ > most_bytes || most_bytes == 0)) {
    auto& requests = messages_.front().requests;
    wait_until({"delivery", &messages_.front().destination, comm_.world_ranks()}, [&] {
      int done = 0;
      MOESAIC_MPI(MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE));
      return done != 0;
    });
    pending_bytes_ -= messages_.front().size_bytes;
    messages_.pop_front();
  }
}

}  // namespace moesaic::comm
