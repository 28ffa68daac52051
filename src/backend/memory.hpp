#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "backend/ptr.hpp"
#include "base/error.hpp"

namespace moesaic::backend {

/// Where bytes lie.
enum class Space : std::uint8_t {
  kHost,    ///< ordinary memory that kernels work on: all memory of the CPU backend
  kPinned,  ///< the host's memory that kernels reach too: what travels, and what the host reads or writes
  kDevice,  ///< out of the host's reach: activations, weights, KV cache
};

/// Bytes that a transport moves.
struct Slice {
  Bytes data;
  std::byte* host = nullptr;  ///< the same bytes for the host; null where it cannot reach them

  friend Slice operator+(Slice slice, std::size_t offset_bytes) {
    const auto offset = static_cast<std::int64_t>(offset_bytes);
    return {slice.data + offset, slice.host ? slice.host + offset : nullptr};
  }
};

/// Memory as a backend gives it out.
struct Allocation {
  Slice bytes;
  std::size_t size_bytes = 0;
  Space space = Space::kHost;
};

/// What gives memory and takes it back: the memory half of a Backend.
class Memory {
 public:
  virtual ~Memory() = default;

  /// Uninitialised bytes, aligned to 64. A backend may give a nearer space than the one asked for (the CPU's: always
  /// kHost). Throws OutOfMemory.
  virtual Allocation allocate(Space space, std::size_t size_bytes) = 0;

  /// Takes memory back when all kernels that were launched before have run.
  virtual void release(const Allocation& allocation) noexcept = 0;

  /// Memory of the host that somebody else owns (of several processes, say), for kernels to work on.
  virtual Bytes adopt(std::span<std::byte> host) = 0;
};

/// Ordinary memory, for what no kernel of a device works on.
Memory& host_memory();

/// Uninitialised bytes in a space of a backend, which outlives the buffer; move-only.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Memory& memory, Space space, std::size_t size_bytes = 0) : memory_(&memory), space_(space) {
    reserve(size_bytes);
  }
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(space_, other.space_);
    std::swap(allocation_, other.allocation_);
    return *this;
  }
  ~Buffer() { release(); }

  std::size_t size_bytes() const { return allocation_.size_bytes; }

  /// Makes room for at least this many bytes; the content is lost when it has to grow. Kernels that were launched
  /// before still find the old bytes.
  void reserve(std::size_t size_bytes) {
    if (size_bytes <= allocation_.size_bytes) return;
    release();
    allocation_ = memory_->allocate(space_, size_bytes);
  }
  /// The same for so many elements, or rows of this size.
  template <class T>
  void reserve_elems(std::int64_t num_elems) {
    reserve_rows(num_elems, sizeof(T));
  }
  void reserve_rows(std::int64_t num_rows, std::size_t row_bytes) {
    reserve(static_cast<std::size_t>(num_rows) * row_bytes);
  }

  Bytes data() const { return allocation_.bytes.data; }
  template <class T>
  Ptr<T> as() const {
    return data().as<T>();
  }
  Slice slice() const { return allocation_.bytes; }

  /// The bytes for the host. What kernels have been given is the host's again after Queue::wait(). Not of kDevice.
  template <class T = std::byte>
  T* host() const {
    MOESAIC_CHECK(allocation_.bytes.host || allocation_.size_bytes == 0,
                  "{} bytes on a device are out of the host's reach", allocation_.size_bytes);
    return reinterpret_cast<T*>(allocation_.bytes.host);
  }

 private:
  void release() noexcept {
    if (allocation_.size_bytes > 0) memory_->release(allocation_);
    allocation_ = {};
  }

  Memory* memory_ = nullptr;
  Space space_ = Space::kHost;
  Allocation allocation_;
};

}  // namespace moesaic::backend
