#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace moesaic {

inline constexpr std::size_t kHugePage_bytes = std::size_t{2} << 20;

/// Uninitialised bytes, aligned for every vector unit and, from 2 MiB on, backed by huge pages where the system allows.
/// Pages are first touched by whoever writes them first.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t size_bytes);

  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  std::size_t size_bytes() const { return size_bytes_; }
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(data_.get());
  }
  template <class T>
  const T* as() const {
    return reinterpret_cast<const T*>(data_.get());
  }

  /// Gives the bytes to the caller, who ends with free().
  std::byte* release() {
    size_bytes_ = 0;
    return data_.release();
  }
  static void free(std::byte* released);

  /// Makes room for at least this many bytes; the content is lost when it has to grow.
  void reserve(std::size_t size_bytes);

 private:
  struct Free {
    void operator()(std::byte* data) const { free(data); }
  };
  std::unique_ptr<std::byte[], Free> data_;
  std::size_t size_bytes_ = 0;
};

}  // namespace moesaic
