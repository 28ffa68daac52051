#include "base/hash.hpp"

#include <fmt/format.h>
#include <xxhash.h>

#include <charconv>
#include <cstring>

#include "base/error.hpp"
#include "base/out_of_memory.hpp"

namespace moesaic {
namespace {

Hash128 canonical(XXH128_hash_t value) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, value);
  Hash128 hash;
  std::memcpy(hash.bytes.data(), canonical.digest, hash.bytes.size());
  return hash;
}

XXH3_state_t* state_of(void* state) { return static_cast<XXH3_state_t*>(state); }

}  // namespace

std::string Hash128::hex() const {
  std::string text;
  for (const auto byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

Hash128 Hash128::from_hex(std::string_view hex) {
  Hash128 hash;
  bool good = hex.size() == 2 * hash.bytes.size();
  for (std::size_t i = 0; good && i < hash.bytes.size(); ++i) {
    const char* digits = hex.data() + 2 * i;
    const auto [end, error] = std::from_chars(digits, digits + 2, hash.bytes[i], 16);
    good = error == std::errc() && end == digits + 2;
  }
  if (!good) fail("'{}' is not a hash: 32 hexadecimal digits expected", hex);
  return hash;
}

Hash128 hash_bytes(std::span<const std::byte> bytes) { return canonical(XXH3_128bits(bytes.data(), bytes.size())); }

Hasher::Hasher() : state_(XXH3_createState()) {
  constexpr std::size_t kState_bytes = 576;  // xxhash.h keeps the type to itself
  if (!state_) throw OutOfMemory(kState_bytes);
  XXH3_128bits_reset(state_of(state_.get()));
}

void Hasher::update(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_of(state_.get()), bytes.data(), bytes.size());
}

Hash128 Hasher::digest() const { return canonical(XXH3_128bits_digest(state_of(state_.get()))); }

void Hasher::Free::operator()(void* state) const { XXH3_freeState(state_of(state)); }

}  // namespace moesaic
