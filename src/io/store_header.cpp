#include "io/store_header.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>

#include "base/error.hpp"

static_assert(std::endian::native == std::endian::little, "stores are little-endian and read without conversion");

namespace moesaic::io {
namespace {

using namespace std::string_view_literals;

/// As in PNG: the first byte and the line ends catch files that passed through a text conversion.
constexpr auto kMagic = "\x93MOESAIC\r\n\x1a\0"sv;
constexpr auto kNote =
    "A Moesaic model store. It is an HDF5 file with a user block: try h5dump -H. See docs/store.md.\n"sv;

// Places of the fields, in bytes from the file's begin.
constexpr std::size_t kVersionAt = 12, kFileSizeAt = 16, kIndexOffsetAt = 24, kIndexSizeAt = 32, kIndexHashAt = 40,
                      kStructureHashAt = 56, kNoteAt = 128, kHeaderHashAt = kHeaderBytes - sizeof(Hash128);

/// The header's own hash covers all bytes before it.
Hash128 header_hash(std::span<const std::byte> header) { return hash_bytes(header.first(kHeaderHashAt)); }

template <class T>
void put(std::span<std::byte> header, std::size_t at, const T& value) {
  std::memcpy(header.data() + at, &value, sizeof value);
}

template <class T>
T take(std::span<const std::byte> header, std::size_t at) {
  T value;
  std::memcpy(&value, header.data() + at, sizeof value);
  return value;
}

[[noreturn]] void not_a_store(std::span<const std::byte> begin, const std::string& path) {
  const std::string_view text(reinterpret_cast<const char*>(begin.data()), begin.size());
  const char* kind = "";
  if (text.starts_with("\x89HDF\r\n\x1a\n"sv))
    kind = " (an HDF5 file of another kind)";
  else if (text.starts_with("GGUF"sv))
    kind = " (a GGUF file)";
  else if (text.starts_with("\x80"sv))
    kind = " (it looks like a pickle)";
  else if (text.empty())
    kind = " (it is empty)";
  fail("{}: not a Moesaic store{}; `moesaic convert` makes one from a checkpoint", path, kind);
}

}  // namespace

std::array<std::byte, kHeaderBytes> encode(const StoreHeader& header) {
  std::array<std::byte, kHeaderBytes> bytes{};
  std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
  put(bytes, kVersionAt, header.version);
  put(bytes, kFileSizeAt, header.file_size_bytes);
  put(bytes, kIndexOffsetAt, header.index.offset_bytes);
  put(bytes, kIndexSizeAt, header.index.size_bytes);
  put(bytes, kIndexHashAt, header.index_hash);
  put(bytes, kStructureHashAt, header.structure_hash);
  std::memcpy(bytes.data() + kNoteAt, kNote.data(), kNote.size());
  put(bytes, kHeaderHashAt, header_hash(bytes));
  return bytes;
}

StoreHeader decode_header(std::span<const std::byte> begin, const std::string& path) {
  const std::size_t compared = std::min(begin.size(), kMagic.size());
  if (compared == 0 || std::memcmp(begin.data(), kMagic.data(), compared) != 0) not_a_store(begin, path);
  if (begin.size() < kHeaderBytes)
    fail("{}: truncated: the file has {} bytes, the header alone {}; copy or convert it again", path, begin.size(),
         kHeaderBytes);
  const auto expected = take<Hash128>(begin, kHeaderHashAt);
  if (const Hash128 found = header_hash(begin); found != expected)
    fail("{}: the header is damaged: hash {}, expected {}; copy or convert it again", path, found.hex(),
         expected.hex());
  const auto version = take<std::uint32_t>(begin, kVersionAt);
  if (version > kStoreVersion)
    fail("{}: store version {}, this Moesaic reads up to {}; use a newer Moesaic or convert again", path, version,
         kStoreVersion);
  if (version == 0) fail("{}: store version 0, expected 1 to {}", path, kStoreVersion);

  StoreHeader header;
  header.version = version;
  header.file_size_bytes = take<std::int64_t>(begin, kFileSizeAt);
  header.index = {take<std::int64_t>(begin, kIndexOffsetAt), take<std::int64_t>(begin, kIndexSizeAt)};
  header.index_hash = take<Hash128>(begin, kIndexHashAt);
  header.structure_hash = take<Hash128>(begin, kStructureHashAt);
  const auto& index = header.index;
  if (index.offset_bytes < static_cast<std::int64_t>(kHeaderBytes) || index.size_bytes < 1 ||
      index.offset_bytes > header.file_size_bytes || index.size_bytes > header.file_size_bytes - index.offset_bytes)
    fail("{}: the header places the index at byte {} with {} bytes in a file of {}", path, index.offset_bytes,
         index.size_bytes, header.file_size_bytes);
  return header;
}

}  // namespace moesaic::io
