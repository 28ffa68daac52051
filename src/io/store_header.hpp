#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/hash.hpp"
#include "config/weight_format.hpp"
#include "io/extent.hpp"

namespace moesaic::io {

/// Raised when an older reader would misread a newer store. The header's size, magic, version field and hash keep their
/// place in all versions, so that a newer store is told from a damaged one.
inline constexpr std::uint32_t kStoreVersion = 2;

/// Stores of int8 weights are as they were in version 1, which knew no other.
constexpr std::uint32_t store_version(WeightFormat format) { return format == WeightFormat::kInt8 ? 1 : kStoreVersion; }

/// The header is the file's HDF5 user block (docs/store.md has its layout).
inline constexpr std::size_t kHeaderBytes = 4096;

/// Where the index lies, and what the file must be.
struct StoreHeader {
  std::uint32_t version = kStoreVersion;
  std::int64_t file_size_bytes = 0;
  Extent index;
  Hash128 index_hash;
  Hash128 structure_hash;
};

std::array<std::byte, kHeaderBytes> encode(const StoreHeader& header);

/// `begin` are the file's first bytes, up to kHeaderBytes. Error: not a store (naming what it is instead), damaged,
/// newer version, index outside of the file.
StoreHeader decode_header(std::span<const std::byte> begin, const std::string& path);

}  // namespace moesaic::io
