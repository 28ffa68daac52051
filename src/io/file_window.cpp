#include "io/file_window.hpp"

#include <algorithm>
#include <span>

namespace moesaic::io {

FileWindow::FileWindow(const File& file) : file_(file), size_bytes_(file.size_bytes()) {}

std::string_view FileWindow::at(std::int64_t offset_bytes, std::int64_t num_bytes) {
  constexpr std::int64_t kBuffer_bytes = 1 << 18;
  const std::int64_t left_bytes = std::max<std::int64_t>(0, size_bytes_ - offset_bytes);
  num_bytes = std::min(num_bytes, left_bytes);
  const std::int64_t buffer_end = buffer_offset_bytes_ + std::ssize(buffer_);
  if (offset_bytes < buffer_offset_bytes_ || offset_bytes + num_bytes > buffer_end) {
    buffer_.resize(static_cast<std::size_t>(std::min(left_bytes, std::max(num_bytes, kBuffer_bytes))));
    buffer_offset_bytes_ = offset_bytes;
    file_.read_at(offset_bytes, std::as_writable_bytes(std::span(buffer_)));
  }
  return {buffer_.data() + (offset_bytes - buffer_offset_bytes_), static_cast<std::size_t>(num_bytes)};
}

}  // namespace moesaic::io
