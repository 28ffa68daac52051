#include "comm/shared_memory.hpp"

#include <new>
#include <utility>

#include "comm/watch.hpp"

namespace moesaic::comm {

SharedMemory::SharedMemory(Communicator comm)
    : comm_(std::move(comm)), segments_(static_cast<std::size_t>(comm_.size())) {
  static_assert(Epoch::is_always_lock_free && sizeof(Epoch) <= kHeader_bytes);
  reserve(1);
}

SharedMemory::~SharedMemory() { release(); }

void SharedMemory::release() {
  if (window_ == MPI_WIN_NULL) return;
  blocking_call("MPI_Win_free", [&] { MPI_Win_free(&window_); });
}

void SharedMemory::reserve(std::size_t size_bytes) {
  if (size_bytes <= size_bytes_) return;
  release();
  MPI_Info info = MPI_INFO_NULL;
  MOESAIC_MPI(MPI_Info_create(&info));
  MOESAIC_MPI(MPI_Info_set(info, "alloc_shared_noncontig", "true"));
  void* own = nullptr;
  const auto bytes = static_cast<MPI_Aint>(kHeader_bytes + size_bytes);
  comm_.barrier();
  blocking_call("MPI_Win_allocate_shared", [&] {
    const int code = MPI_Win_allocate_shared(bytes, 1, info, comm_.handle(), static_cast<void*>(&own), &window_);
    if (code != MPI_SUCCESS)
      mpi_failed(code,
                 fmt::format("MPI_Win_allocate_shared of {} MiB on each of {} ranks (is /dev/shm too small? make it "
                             "larger, or give --dispatch flat)",
                             bytes >> 20, comm_.size())
                     .c_str(),
                 __FILE__, __LINE__);
  });
  MPI_Info_free(&info);
  for (int rank = 0; rank < comm_.size(); ++rank) {
    MPI_Aint size = 0;
    int unit = 0;
    void* segment = nullptr;
    MOESAIC_MPI(MPI_Win_shared_query(window_, rank, &size, &unit, static_cast<void*>(&segment)));
    segments_[static_cast<std::size_t>(rank)] = static_cast<std::byte*>(segment);
  }
  size_bytes_ = size_bytes;
  epoch_ = 0;
  new (own) Epoch(0);
  comm_.barrier();
}

void SharedMemory::arrive() {
  epoch(static_cast<std::size_t>(comm_.rank())).store(++epoch_, std::memory_order_release);
  missing_ = comm_.world_ranks();
}

bool SharedMemory::all_here() {
  missing_.clear();
  for (std::size_t rank = 0; rank < segments_.size(); ++rank)
    if (epoch(rank).load(std::memory_order_acquire) < epoch_) missing_.push_back(comm_.world_ranks()[rank]);
  return missing_.empty();
}

}  // namespace moesaic::comm
