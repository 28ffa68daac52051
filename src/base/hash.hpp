#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace moesaic {

/// A 128-bit XXH3 value (seed 0) in its canonical (big-endian) byte order.
struct Hash128 {
  std::array<std::uint8_t, 16> bytes{};

  std::string hex() const;  ///< 32 lower-case digits
  static Hash128 from_hex(std::string_view hex);
  friend auto operator<=>(const Hash128&, const Hash128&) = default;
};

Hash128 hash_bytes(std::span<const std::byte> bytes);

/// XXH3-128 over bytes that come in pieces.
class Hasher {
 public:
  Hasher();
  void update(std::span<const std::byte> bytes);
  Hash128 digest() const;

 private:
  struct Free {
    void operator()(void* state) const;
  };
  std::unique_ptr<void, Free> state_;
};

}  // namespace moesaic
