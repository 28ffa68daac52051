#pragma once

#include <optional>
#include <string>
#include <vector>

#include "io/tokenizer.hpp"

namespace moesaic {

/// Turns the tokens of one continuation into text as they come: only complete UTF-8 is given out, and nothing that may
/// turn out to be the beginning of a stop string. All that was given out is together the SentencePiece decode of the
/// tokens, cut before the first stop string.
class TextStream {
 public:
  /// tokenizer: null gives no text.
  TextStream(const io::Tokenizer* tokenizer, std::vector<std::string> stop_strings);

  /// Text that this token makes certain; stopped() tells whether a stop string has been met.
  std::string push(std::int32_t token);
  /// The rest.
  std::string finish();

  bool stopped() const { return stopped_; }
  const std::string& text() const { return text_; }  ///< all that was given out

 private:
  std::string give_out(std::string_view decoded, std::size_t safe_size);

  const io::Tokenizer* tokenizer_;
  std::vector<std::string> stop_strings_;
  std::vector<std::int32_t> tokens_;
  std::string text_;
  bool stopped_ = false;
};

}  // namespace moesaic
