#pragma once

#include <cstdint>

/// Memory of this node and of this process.
namespace moesaic::host {

/// Bytes left in /dev/shm, where ranks of a node share memory; containers often have little.
std::int64_t available_shared_memory_bytes();

/// Bytes that this node can still give out: MemAvailable, or what the control group leaves when that is less.
std::int64_t available_memory_bytes();

/// Largest resident size that this process has had, in bytes.
std::int64_t peak_memory_bytes();

}  // namespace moesaic::host
