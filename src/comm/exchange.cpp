#include "comm/exchange.hpp"

#include <algorithm>
#include <utility>

namespace moesaic::comm {
namespace {

void offsets_of(std::span<const std::int32_t> counts, std::vector<int>& offsets) {
  offsets.clear();
  int sum = 0;
  for (const auto count : counts) {
    offsets.push_back(sum);
    sum += count;
  }
}

}  // namespace

RowType::RowType(std::size_t row_bytes) {
  MOESAIC_MPI(MPI_Type_contiguous(static_cast<int>(row_bytes), MPI_BYTE, &type_));
  MOESAIC_MPI(MPI_Type_commit(&type_));
}

RowType::RowType(RowType&& other) noexcept : type_(std::exchange(other.type_, MPI_DATATYPE_NULL)) {}

RowType::~RowType() {
  if (type_ != MPI_DATATYPE_NULL) MPI_Type_free(&type_);
}

MPI_Datatype RowExchange::row_type(std::size_t row_bytes) {
  return row_types_.try_emplace(row_bytes, row_bytes).first->second.handle();
}

void RowExchange::all_to_all(const void* send, std::span<const std::int32_t> num_send_rows, void* recv,
                             std::span<const std::int32_t> num_recv_rows, std::size_t row_bytes) {
  offsets_of(num_send_rows, send_offsets_);
  offsets_of(num_recv_rows, recv_offsets_);
  const MPI_Datatype type = row_type(row_bytes);
  MOESAIC_MPI(MPI_Alltoallv(send, num_send_rows.data(), send_offsets_.data(), type, recv, num_recv_rows.data(),
                            recv_offsets_.data(), type, comm_.handle()));
}

void RowExchange::all_gather(const void* send, void* recv, std::span<const std::int32_t> num_rows,
                             std::size_t row_bytes) {
  offsets_of(num_rows, recv_offsets_);
  const MPI_Datatype type = row_type(row_bytes);
  MOESAIC_MPI(MPI_Allgatherv(send, num_rows[static_cast<std::size_t>(comm_.rank())], type, recv, num_rows.data(),
                             recv_offsets_.data(), type, comm_.handle()));
}

Outbox::~Outbox() { drain(); }

void Outbox::post(std::vector<std::byte> bytes, int destination, int tag) {
  Message& message = messages_.emplace_back(Message{std::move(bytes), {}});
  const std::size_t size = message.bytes.size();
  for_each_part(size, [&](std::size_t offset, int count) {
    MOESAIC_MPI(MPI_Isend(message.bytes.data() + offset, count, MPI_BYTE, destination, tag, comm_.handle(),
                          &message.requests.emplace_back()));
  });
  pending_bytes_ += size;
}

void Outbox::drain(std::size_t most_bytes) {
  while (!messages_.empty() && (pending_bytes_ > most_bytes || most_bytes == 0)) {
    auto& requests = messages_.front().requests;
    MOESAIC_MPI(MPI_Waitall(static_cast<int>(requests.size()), requests.data(), MPI_STATUSES_IGNORE));
    pending_bytes_ -= messages_.front().bytes.size();
    messages_.pop_front();
  }
}

void receive(const Communicator& comm, std::span<std::byte> bytes, int source, int tag) {
  for_each_part(bytes.size(), [&](std::size_t offset, int count) {
    MOESAIC_MPI(MPI_Recv(bytes.data() + offset, count, MPI_BYTE, source, tag, comm.handle(), MPI_STATUS_IGNORE));
  });
}

}  // namespace moesaic::comm
