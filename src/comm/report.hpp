#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

#include "base/trace.hpp"

namespace moesaic::comm {

/// A short text that is made without the heap, so in signal handlers too; what does not fit is cut off.
class Line {
 public:
  Line& add(std::string_view text);
  Line& add(std::int64_t number);
  /// Adds seconds with one decimal: "2.0 s".
  Line& add_seconds(double seconds);
  std::string_view text() const { return {text_.data(), size_}; }
  /// Writes the line to standard error, in one piece.
  void print() const;

 private:
  std::array<char, 1024> text_;
  std::size_t size_ = 0;
};

/// What a rank is doing: plain data, sent to other ranks as it is.
struct Report {
  static constexpr std::int32_t kMostPeers = 16;

  std::int32_t rank = -1;  ///< of the world; -1: not known yet
  std::int32_t layer = Position::kNoLayer;
  std::int64_t step = 0;
  Zone zone = Zone::kCount, completed = Zone::kCount;
  bool waits = false;
  bool for_any = false;          ///< a collective operation: for any of the peers, it cannot know for which
  std::int32_t num_peers = 0;    ///< world ranks it waits for; the first kMostPeers are named
  std::int32_t num_awaited = 0;  ///< all that the operation needs something of; 0: not told
  std::array<std::int32_t, kMostPeers> peers{};
  double waited_s = 0, timeout_s = 0;
  std::array<char, 64> host{}, operation{}, last_wait{};
  std::array<char, 256> error{};  ///< of an MPI call; empty: none

  /// One line without an end of line: "rank 1 on n0: step 3, layer 2, dispatch: waited ...".
  void describe(Line& line) const;
};

/// Copies at most what fits; always ends with a zero.
template <std::size_t N>
void put_text(std::array<char, N>& into, std::string_view text) {
  const std::size_t size = std::min(text.size(), N - 1);
  for (std::size_t i = 0; i < size; ++i) into[i] = text[i];
  into[size] = 0;
}

/// Adds ranks as a list: "2, 5, 7".
template <class Ranks>
void add_ranks(Line& line, const Ranks& ranks) {
  bool first = true;
  for (const auto rank : ranks) {
    if (!first) line.add(", ");
    first = false;
    line.add(static_cast<std::int64_t>(rank));
  }
}

}  // namespace moesaic::comm
