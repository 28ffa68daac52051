#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/hash.hpp"
#include "io/file_window.hpp"

namespace moesaic::batch {

enum class FrameKind : std::uint32_t { kIdentity = 1, kResult, kErrorResult, kCompleted };

/// What a frame of a journal begins with, as it lies in the file (little-endian, like every machine Moesaic runs on).
/// Its body follows: the identity, a result's output lines, or a Completed.
struct FrameHead {
  std::array<char, 4> magic{'M', 'J', 'r', 'n'};
  FrameKind kind{};
  std::int64_t position = 0;      ///< of the frame in the journal; the identity has 0
  std::int64_t synced_bytes = 0;  ///< of the journal were on the device when the frame was written
  std::int64_t index = 0;         ///< of the request
  Hash128 logits_hash{};          ///< of the request
  std::int64_t body_bytes = 0;
  Hash128 body_hash{};
  /// Of the journal's seed and all of the head before it: so a length can be trusted before the body is there, and a
  /// frame of another journal or another position is none.
  Hash128 head_hash{};
};
static_assert(sizeof(FrameHead) == 88);

/// The frame's bytes; fills in what is left in `head`.
std::string encode_frame(FrameHead head, std::string_view body, const Hash128& seed);

/// Whether nothing in the head has changed.
bool is_whole(const FrameHead& head, const Hash128& seed);

/// The head at a place of the file; none when no whole head of this journal is there.
std::optional<FrameHead> read_head(io::FileWindow& file, std::int64_t offset_bytes, const Hash128& seed);

struct Frame {
  FrameHead head;
  std::string_view body;  ///< valid until the window is used again
  std::int64_t size_bytes() const { return static_cast<std::int64_t>(sizeof(FrameHead) + body.size()); }
};
/// The frame at a place of the file; none when no whole one of this journal and position is there.
std::optional<Frame> read_frame(io::FileWindow& file, std::int64_t offset_bytes, std::int64_t position,
                                const Hash128& seed);

/// Whether a head from `offset_bytes` on says that more than `offset_bytes` of the journal was on the device once.
bool was_synced_beyond(io::FileWindow& file, std::int64_t offset_bytes, const Hash128& seed);

}  // namespace moesaic::batch
