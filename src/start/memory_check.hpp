#pragma once

#include <cstdint>
#include <string>

#include "comm/mpi.hpp"

namespace moesaic {

/// Memory that a rank is to have, bytes, and what lowers it: "use more nodes".
struct MemoryNeed {
  std::int64_t bytes = 0;
  std::string contents;  ///< "weights, KV cache, buffers"
  std::string remedy;
};

/// Collective: Error on all ranks unless every node has the memory that its ranks need together, and every rank may
/// have its own by the limits of its process (ulimit -v, -d), where what it has mapped already counts.
void require_memory(const comm::Communicator& world, const MemoryNeed& own);

/// Bytes that this process may still have by its own limits, less what libraries and the allocator take beside; the
/// largest number without limits.
std::int64_t process_memory_left_bytes();

}  // namespace moesaic
