#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace moesaic::backend {

/// Address of elements in a backend's memory. That memory may lie on a device, or belong to kernels that have not run
/// yet, so the address can be moved along and handed to kernels, but only backends look at what is there: address() is
/// theirs (tests/structure checks it). The host reads through Buffer::host(), after Queue::wait().
template <class T>
class Ptr {
 public:
  constexpr Ptr() = default;
  constexpr explicit Ptr(T* address) : address_(address) {}
  template <class U>
  requires(!std::is_same_v<U, T> && std::is_convertible_v<U*, T*>) constexpr Ptr(Ptr<U> other)
      : address_(other.address()) {}

  constexpr T* address() const { return address_; }
  constexpr explicit operator bool() const { return address_ != nullptr; }

  /// The same place as elements of another type.
  template <class U>
  Ptr<U> as() const {
    return Ptr<U>(reinterpret_cast<U*>(address_));
  }
  friend constexpr Ptr operator+(Ptr ptr, std::int64_t elems) { return Ptr(ptr.address_ + elems); }

 private:
  T* address_ = nullptr;
};

/// Rows whose form the numeric mode decides (activations, inputs of matrices): byte addresses.
using Bytes = Ptr<std::byte>;
using ConstBytes = Ptr<const std::byte>;

}  // namespace moesaic::backend
