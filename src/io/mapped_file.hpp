#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace moesaic::io {

/// A whole file mapped for reading; move-only.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }
  /// The part will not be needed again: its pages stop counting as this process's memory.
  void release(std::span<const std::byte> part) const;

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace moesaic::io
