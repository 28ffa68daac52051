#include "late_memory.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

#include "base/aligned_buffer.hpp"
#include "base/out_of_memory.hpp"

namespace moesaic::deferred {
namespace {

using backend::Allocation;
using backend::Bytes;
using backend::Space;

std::byte* map(int file, std::size_t size_bytes) {
  void* memory = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) throw OutOfMemory(size_bytes);
  return static_cast<std::byte*>(memory);
}

/// Both calls act on whole pages.
void set_access(std::byte* host, std::size_t size_bytes, int protection) {
  if (mprotect(host, size_bytes, protection) != 0) fail("mprotect of {} bytes failed", size_bytes);
}

}  // namespace

Allocation LateMemory::allocate(Space space, std::size_t size_bytes) {
  if (space == Space::kDevice) return {{Bytes(AlignedBuffer(size_bytes).release())}, size_bytes, space};
  const int file = memfd_create("pinned", MFD_CLOEXEC);
  if (file < 0 || ftruncate(file, static_cast<off_t>(size_bytes)) != 0) throw OutOfMemory(size_bytes);
  std::byte *const kernels = map(file, size_bytes), *const host = map(file, size_bytes);
  close(file);
  const std::lock_guard lock(mutex_);
  pinned_[kernels] = {host, size_bytes};
  return {{Bytes(kernels), host}, size_bytes, Space::kPinned};
}

void LateMemory::free(const Allocation& allocation) noexcept {
  std::byte* const kernels = allocation.bytes.data.address();
  if (allocation.space == Space::kDevice) return AlignedBuffer::free(kernels);
  const std::lock_guard lock(mutex_);
  pinned_.erase(kernels);
  munmap(kernels, allocation.size_bytes);
  munmap(allocation.bytes.host, allocation.size_bytes);
}

void LateMemory::lock(const void* address, std::uint64_t number) {
  const auto* at = static_cast<const std::byte*>(address);
  const std::lock_guard guard(mutex_);
  auto found = pinned_.upper_bound(at);
  if (found == pinned_.begin()) return;
  View& view = (--found)->second;
  if (at >= found->first + view.size_bytes) return;
  if (view.locked_by == 0) set_access(view.host, view.size_bytes, PROT_NONE);
  view.locked_by = number;
}

void LateMemory::unlock(std::uint64_t number) {
  const std::lock_guard guard(mutex_);
  for (auto& [kernels, view] : pinned_) {
    if (view.locked_by == 0 || view.locked_by > number) continue;
    set_access(view.host, view.size_bytes, PROT_READ | PROT_WRITE);
    view.locked_by = 0;
  }
}

}  // namespace moesaic::deferred
