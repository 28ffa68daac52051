#include "batch/journal_frame.hpp"

#include <bit>
#include <cstring>
#include <span>

namespace moesaic::batch {
namespace {

static_assert(std::endian::native == std::endian::little);
constexpr std::int64_t kHead_bytes = sizeof(FrameHead);

Hash128 head_hash(const FrameHead& head, const Hash128& seed) {
  Hasher hasher;
  hasher.update(std::as_bytes(std::span(seed.bytes)));
  hasher.update(std::as_bytes(std::span(&head, 1)).first(offsetof(FrameHead, head_hash)));
  return hasher.digest();
}

}  // namespace

std::string encode_frame(FrameHead head, std::string_view body, const Hash128& seed) {
  head.body_bytes = std::ssize(body);
  head.body_hash = hash_bytes(std::as_bytes(std::span(body)));
  head.head_hash = head_hash(head, seed);
  std::string bytes(sizeof(FrameHead) + body.size(), '\0');
  std::memcpy(bytes.data(), &head, sizeof(FrameHead));
  body.copy(bytes.data() + sizeof(FrameHead), body.size());
  return bytes;
}

bool is_whole(const FrameHead& head, const Hash128& seed) {
  return head.magic == FrameHead{}.magic && head.head_hash == head_hash(head, seed);
}

std::optional<FrameHead> read_head(io::FileWindow& file, std::int64_t offset_bytes, const Hash128& seed) {
  const std::string_view bytes = file.at(offset_bytes, kHead_bytes);
  if (std::ssize(bytes) < kHead_bytes) return std::nullopt;
  FrameHead head;
  std::memcpy(&head, bytes.data(), sizeof(FrameHead));
  return is_whole(head, seed) ? std::optional(head) : std::nullopt;
}

std::optional<Frame> read_frame(io::FileWindow& file, std::int64_t offset_bytes, std::int64_t position,
                                const Hash128& seed) {
  const auto head = read_head(file, offset_bytes, seed);
  if (!head || head->position != position) return std::nullopt;
  const std::string_view body = file.at(offset_bytes + kHead_bytes, head->body_bytes);
  if (std::ssize(body) != head->body_bytes || hash_bytes(std::as_bytes(std::span(body))) != head->body_hash)
    return std::nullopt;
  return Frame{*head, body};
}

bool was_synced_beyond(io::FileWindow& file, std::int64_t offset_bytes, const Hash128& seed) {
  constexpr std::int64_t kStep_bytes = 1 << 16;
  constexpr std::array<char, 4> kMagic = FrameHead{}.magic;
  const std::string_view magic(kMagic.data(), kMagic.size());
  for (std::int64_t begin = offset_bytes; begin < file.size_bytes(); begin += kStep_bytes) {
    // Steps overlap by a head, so that one that crosses their border is seen.
    std::string_view bytes = file.at(begin, kStep_bytes + kHead_bytes);
    for (std::size_t at = 0; (at = bytes.find(magic, at)) != std::string_view::npos; ++at) {
      const auto head = read_head(file, begin + static_cast<std::int64_t>(at), seed);
      if (head && head->synced_bytes > offset_bytes) return true;
      bytes = file.at(begin, kStep_bytes + kHead_bytes);
    }
  }
  return false;
}

}  // namespace moesaic::batch
