#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "backend/ptr.hpp"

namespace moesaic::backend {

/// A point in a queue: all that was launched before it.
struct Event {
  std::uint64_t number = 0;
};

/// Kernels in the order in which they were launched. A launch returns at once and the kernel may run later; what it
/// reads and writes is not the host's until a wait for a later event has returned. One thread launches and waits.
class Queue {
 public:
  virtual ~Queue() = default;

  /// to(size) = from(size), in whatever spaces they lie.
  virtual void copy(Bytes to, ConstBytes from, std::size_t size_bytes) = 0;
  /// to(size) = zeros.
  virtual void clear(Bytes to, std::size_t size_bytes) = 0;

  virtual Event record() = 0;
  /// Returns when all kernels before the event have run; throws what the first of them that failed has thrown.
  virtual void wait(Event event) = 0;
  void wait() { wait(record()); }

  /// Values of the host as an argument of kernels that are launched before the next wait(). They must stay as they are
  /// until the kernel has been launched.
  template <class T>
  Ptr<const std::remove_const_t<T>> argument(std::span<T> values) {
    static_assert(std::is_trivially_copyable_v<T>);
    if constexpr (requires(T value) { value.address(); })
      for (const T& value : values) will_use(value.address());
    return Ptr<const std::remove_const_t<T>>(reinterpret_cast<const T*>(keep(std::as_bytes(values))));
  }

 private:
  /// Bytes of the host where kernels find them until the next wait().
  virtual const std::byte* keep(std::span<const std::byte> bytes) = 0;
  /// The next kernel finds this address in an argument.
  virtual void will_use(const void*) {}
};

}  // namespace moesaic::backend
