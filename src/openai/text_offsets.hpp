#pragma once

#include <cstdint>
#include <string_view>

namespace moesaic::openai {

/// Where each token begins in the text that the tokens together have become. They need not be one behind the other in
/// it: a text lacks the space that SentencePiece puts before its first token, has U+FFFD for bytes that are no
/// character, ends before a stop string, and may have been normalized before it was encoded.
class TextOffsets {
 public:
  /// `text` must outlive this object.
  explicit TextOffsets(std::string_view text) : text_(text) {}

  /// In characters, of the next token, which stands for these bytes. A token that the text does not have is where it
  /// would be.
  std::int64_t next(std::string_view bytes);

 private:
  bool has(std::string_view bytes) const { return text_.substr(at_bytes_).starts_with(bytes); }
  std::int64_t pass(std::size_t num_bytes);

  std::string_view text_;
  std::size_t at_bytes_ = 0;
  std::int64_t num_characters_ = 0;  // that begin before
};

}  // namespace moesaic::openai
