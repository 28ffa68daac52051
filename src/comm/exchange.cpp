#include "comm/exchange.hpp"

#include <cstring>
#include <utility>

#include "comm/wait.hpp"

namespace moesaic::comm {
namespace {

constexpr int kRowsTag = 4;

}  // namespace

RowExchange::RowExchange(const Communicator& comm) : comm_(comm), mailbox_(make_pairwise_mailbox(comm, kRowsTag)) {}

/// Rows of all ranks, one rank's behind another's.
void RowExchange::lay_out(std::span<const std::int32_t> num_rows, std::size_t row_bytes, std::vector<Part>& parts) {
  parts.clear();
  std::size_t offset = 0;
  for (const auto count : num_rows) {
    parts.push_back({offset, static_cast<std::size_t>(count) * row_bytes});
    offset += parts.back().size;
  }
}

void RowExchange::all_to_all(const void* send, std::span<const std::int32_t> num_send_rows, void* recv,
                             std::span<const std::int32_t> num_recv_rows, std::size_t row_bytes) {
  lay_out(num_send_rows, row_bytes, sends_);
  lay_out(num_recv_rows, row_bytes, recvs_);
  exchange(static_cast<const std::byte*>(send), static_cast<std::byte*>(recv));
}

void RowExchange::all_gather(const void* send, void* recv, std::span<const std::int32_t> num_rows,
                             std::size_t row_bytes) {
  lay_out(num_rows, row_bytes, recvs_);
  sends_.assign(num_rows.size(), {0, recvs_[static_cast<std::size_t>(comm_.rank())].size});
  exchange(static_cast<const std::byte*>(send), static_cast<std::byte*>(recv));
}

/// Peers in turn from the next rank on, so that not all begin with the same one.
void RowExchange::exchange(const std::byte* send, std::byte* recv) {
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
  if (to.size > 0) std::memcpy(recv + to.offset, send + from.offset, to.size);
  while (mailbox_->next()) {
  }
  mailbox_->finish();
}

Outbox::~Outbox() { drain(); }

void Outbox::post(std::vector<std::byte> bytes, int destination, int tag) {
  Message& message = messages_.emplace_back(
      Message{std::move(bytes), {comm_.world_ranks()[static_cast<std::size_t>(destination)]}, {}});
  const std::size_t size = message.bytes.size();
  for_each_part(size, [&](std::size_t offset, int count) {
    MOESAIC_MPI(MPI_Isend(message.bytes.data() + offset, count, MPI_BYTE, destination, tag, comm_.handle(),
                          &message.requests.emplace_back()));
  });
  pending_bytes_ += size;
  traffic().add(message.destination[0], size);
}

void Outbox::drain(std::size_t most_bytes) {
  while (!messages_.empty() && (pending_bytes_ > most_bytes || most_bytes == 0)) {
    auto& requests = messages_.front().requests;
    wait_until({"delivery", &messages_.front().destination, comm_.world_ranks()}, [&] {
      int done = 0;
      MOESAIC_MPI(MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE));
      return done != 0;
    });
    pending_bytes_ -= messages_.front().bytes.size();
    messages_.pop_front();
  }
}

}  // namespace moesaic::comm
