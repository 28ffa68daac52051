#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "io/file.hpp"

namespace moesaic::io {

/// Views of a file that is read mostly forwards, through a buffer that grows with the largest view.
class FileWindow {
 public:
  /// Over the file's size at this time; `file` outlives this object.
  explicit FileWindow(const File& file);

  std::int64_t size_bytes() const { return size_bytes_; }
  /// The bytes from `offset_bytes` on, fewer at the end of the file; valid until the next call.
  std::string_view at(std::int64_t offset_bytes, std::int64_t num_bytes);

 private:
  const File& file_;
  std::int64_t size_bytes_;
  std::vector<char> buffer_;  // of the file, from buffer_offset_bytes_ on
  std::int64_t buffer_offset_bytes_ = 0;
};

}  // namespace moesaic::io
