#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/tokenizer.hpp"

namespace moesaic::io {

/// Turns token ids into text as they come, in whole characters. The text of all ids together is Tokenizer::decode() of
/// them: the space that SentencePiece puts before a text's first word is dropped at the beginning of the text, and
/// nowhere else. An id costs the same wherever it stands.
class Detokenizer {
 public:
  /// tokenizer: outlives this object.
  explicit Detokenizer(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  /// These ids come first, and their text is known: what push() and finish() give is the text behind it. A character
  /// that begins in them and ends in a later id belongs to that one.
  void skip(std::span<const std::int32_t> ids);
  /// Text that is certain once this id is known: a character that may be incomplete waits for its other bytes.
  std::string push(std::int32_t id);
  /// The rest, after the last id: U+FFFD for each byte of a character that is incomplete.
  std::string finish() { return take(bytes_.size()); }

 private:
  bool has_text(std::int32_t id) const { return !tokenizer_.decode({&id, 1}).empty(); }
  std::string text_of(std::int32_t id);
  std::string take(std::size_t num_bytes);

  const Tokenizer& tokenizer_;
  bool begun_ = false;                 // the ids so far have text
  std::vector<std::int32_t> leading_;  // until then: those that may have some, as a space that is dropped
  std::string bytes_;                  // of a character that may be completed
  std::size_t num_skipped_bytes_ = 0;  // of bytes_: the first so many are of ids that were skipped
};

}  // namespace moesaic::io
