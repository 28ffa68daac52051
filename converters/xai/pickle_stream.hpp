#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace moesaic::converters {

/// A position in a pickle; every read is checked against what is left.
class PickleStream {
 public:
  PickleStream(std::span<const std::byte> bytes, const std::string& source) : bytes_(bytes), source_(source) {}

  const std::string& source() const { return source_; }
  std::size_t position() const { return position_; }
  std::size_t left() const { return bytes_.size() - position_; }

  std::span<const std::byte> take(std::uint64_t size_bytes, const char* what) {
    if (size_bytes > left())
      fail("{}: truncated or damaged: {} at byte {} has {} bytes, {} are left", source_, what, position_, size_bytes,
           left());
    const auto part = bytes_.subspan(position_, static_cast<std::size_t>(size_bytes));
    position_ += part.size();
    return part;
  }

  /// Little-endian.
  template <class T>
  T number(const char* what) {
    T value;
    std::memcpy(&value, take(sizeof value, what).data(), sizeof value);
    return value;
  }

  /// Up to the next line end, which is taken too.
  std::string_view line(const char* what) {
    const auto rest = text(bytes_.subspan(position_));
    const std::size_t end = rest.find('\n');
    if (end == std::string_view::npos)
      fail("{}: truncated or damaged: {} at byte {} does not end", source_, what, position_);
    position_ += end + 1;
    return rest.substr(0, end);
  }

  static std::string_view text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& source_;
  std::size_t position_ = 0;
};

}  // namespace moesaic::converters
