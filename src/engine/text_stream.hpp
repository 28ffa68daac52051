#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/detokenizer.hpp"

namespace moesaic {

/// Turns the tokens of one continuation into text as they come: only whole characters are given out, and nothing that
/// may turn out to be the beginning of a stop string. All that was given out is together what the text of prompt and
/// continuation has behind the prompt's, cut before the stop string that was complete first.
class TextStream {
 public:
  /// tokenizer: outlives this object; null gives no text.
  TextStream(const io::Tokenizer* tokenizer, std::span<const std::int32_t> prompt,
             std::vector<std::string> stop_strings);

  /// Text that this token makes certain; stopped() tells whether a stop string has been met. Only a stop string whose
  /// last byte comes with a token that may stop is one; where it begins does not matter.
  std::string push(std::int32_t token, bool may_stop = true);
  /// The rest, after the last token.
  std::string finish();

  bool stopped() const { return stopped_; }
  const std::string& text() const { return text_; }  ///< all that was given out

 private:
  std::optional<std::size_t> first_stop(std::size_t num_searched) const;
  std::string give_out(std::size_t num_bytes);

  std::optional<io::Detokenizer> detokenizer_;
  std::vector<std::string> stop_strings_;
  std::string text_;
  std::string held_;  // the text behind it: what may be the beginning of a stop string
  bool stopped_ = false;
};

}  // namespace moesaic
