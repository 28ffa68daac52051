#pragma once

#include <cstdint>
#include <map>
#include <mutex>

#include "backend/memory.hpp"

namespace moesaic::deferred {

/// Memory of the deferred backend. Pinned memory is mapped twice: kernels use one view, the host the other, which can
/// be made inaccessible. Used by the host's thread and by the one that runs kernels.
class LateMemory {
 public:
  backend::Allocation allocate(backend::Space space, std::size_t size_bytes);
  void free(const backend::Allocation& allocation) noexcept;

  /// A kernel launched as `number` gets this address: from now on the host must not touch the allocation that it lies
  /// in, if any.
  void lock(const void* address, std::uint64_t number);
  /// Kernels up to `number` have run: what no later one has been given is the host's again.
  void unlock(std::uint64_t number);

 private:
  struct View {
    std::byte* host;
    std::size_t size_bytes;
    std::uint64_t locked_by = 0;  ///< the last kernel that was given it; 0: none that has not been waited for
  };
  std::mutex mutex_;
  std::map<const std::byte*, View> pinned_;  // by the kernels' address
};

}  // namespace moesaic::deferred
