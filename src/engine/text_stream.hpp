#pragma once

#include <optional>
#include <string>
#include <vector>

#include "io/tokenizer.hpp"

namespace moesaic {

/// Turns the tokens of one continuation into text as they come: only complete UTF-8 is given out, and nothing that may
/// turn out to be the beginning of a stop string. All that was given out is together the SentencePiece decode of the
/// tokens, cut before the first stop string. Each token costs the same, however long the text is.
class TextStream {
 public:
  /// tokenizer: null gives no text. continues: the text goes behind another, so spaces at its beginning, which
  /// SentencePiece drops, are kept.
  TextStream(const io::Tokenizer* tokenizer, std::vector<std::string> stop_strings, bool continues = false);

  /// Text that this token makes certain; stopped() tells whether a stop string has been met. Unless it may stop, stop
  /// strings in it are text.
  std::string push(std::int32_t token, bool may_stop = true);
  /// The rest.
  std::string finish();

  bool stopped() const { return stopped_; }
  const std::string& text() const { return text_; }  ///< all that was given out

 private:
  std::string pending() const;
  std::string give_out(std::string_view pending, std::size_t safe_size);
  void begin_window(std::int32_t token, std::string settled);

  const io::Tokenizer* tokenizer_;
  std::vector<std::string> stop_strings_;
  bool continues_;
  std::string text_;
  // What was not given out is settled_ and what the window's tokens give behind its first so many bytes. A window
  // begins with a token that is text by itself, so no later token changes what came before.
  std::string settled_;
  std::vector<std::int32_t> window_;
  std::size_t window_skip_bytes_ = 0;
  std::size_t given_bytes_ = 0;  // of settled_ and the window
  bool stopped_ = false;
};

}  // namespace moesaic
