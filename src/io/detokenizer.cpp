#include "io/detokenizer.hpp"

#include "base/utf8.hpp"

namespace moesaic::io {

/// What comes behind an id that is text, and not a part of a character, does not depend on what was before that id.
void Detokenizer::skip(std::span<const std::int32_t> ids) {
  std::size_t first = ids.size();
  while (first > 0) {
    --first;
    if (!tokenizer_.is_byte(ids[first]) && has_text(ids[first])) break;
  }
  for (const std::int32_t id : ids.subspan(first)) push(id);
  num_skipped_bytes_ = bytes_.size();
}

/// A character's bytes follow each other: any other id between them, a control one too, leaves it incomplete.
std::string Detokenizer::push(std::int32_t id) {
  if (!tokenizer_.is_byte(id)) return finish() + text_of(id);
  begun_ = true;
  bytes_ += tokenizer_.piece(id);
  return take(bytes_.size() - incomplete_at_end(bytes_));
}

/// Of an id that is no byte. SentencePiece itself says which spaces at the beginning of a text are dropped: its
/// versions differ in that.
std::string Detokenizer::text_of(std::int32_t id) {
  std::string piece = tokenizer_.piece(id);
  if (begun_ || piece.empty()) return piece;
  leading_.push_back(id);
  std::string text = tokenizer_.decode(leading_);
  begun_ = !text.empty();
  return text;
}

/// The first bytes as valid UTF-8, without those that were skipped and have turned out to be no part of a character.
std::string Detokenizer::take(std::size_t num_bytes) {
  std::string_view certain = std::string_view(bytes_).substr(0, num_bytes);
  while (num_skipped_bytes_ > 0 && first_invalid_utf8(certain) == 0) {
    certain.remove_prefix(1);
    --num_skipped_bytes_;
  }
  if (num_bytes > 0) num_skipped_bytes_ = 0;  // what is left of them is a character that is complete now
  std::string text = valid_utf8(certain);
  bytes_.erase(0, num_bytes);
  return text;
}

}  // namespace moesaic::io
