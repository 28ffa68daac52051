#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>

namespace moesaic {

/// A limit that this process, alone, was given by its shell or batch system.
struct ProcessLimit {
  const char* option = "";  ///< the command that sets it: "ulimit -v"
  std::int64_t limit_bytes = 0, used_bytes = 0;
  std::int64_t left_bytes() const { return limit_bytes > used_bytes ? limit_bytes - used_bytes : 0; }
};

/// The limit on memory that leaves this process the least: address space (RLIMIT_AS, where all that is mapped counts)
/// or data (RLIMIT_DATA). None when both are unlimited. Takes no memory itself.
std::optional<ProcessLimit> tightest_process_limit();

/// Says what memory is asked for while this object lives, and the option that lowers it, for the message of
/// OutOfMemory: "the KV cache; a lower --kv-memory takes less". A literal; of the main thread, and so of the team that
/// works for it.
class MemoryPurpose {
 public:
  explicit MemoryPurpose(const char* purpose);
  ~MemoryPurpose();
  MemoryPurpose(const MemoryPurpose&) = delete;
  MemoryPurpose& operator=(const MemoryPurpose&) = delete;

 private:
  const char* outer_;
};

/// Memory that could not be had: how much, what for, and which limit it met. Thrown by operator new too.
class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(std::size_t size_bytes) noexcept;
  const char* what() const noexcept override { return text_; }

 private:
  char text_[512];
};

}  // namespace moesaic
