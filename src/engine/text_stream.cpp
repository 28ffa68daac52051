#include "engine/text_stream.hpp"

#include <algorithm>

namespace moesaic {
namespace {

/// Without the replacement characters at its end: they may be bytes of a character that is still incomplete.
std::size_t complete_size(std::string_view text) {
  constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
  std::size_t size = text.size();
  while (text.substr(0, size).ends_with(kReplacement)) size -= kReplacement.size();
  return size;
}

/// Length of the longest end of `text` that is the beginning, but not the whole, of `stop`.
std::size_t partial_match(std::string_view text, std::string_view stop) {
  for (std::size_t size = std::min(text.size(), stop.size() - 1); size > 0; --size)
    if (stop.starts_with(text.substr(text.size() - size))) return size;
  return 0;
}

}  // namespace

TextStream::TextStream(const io::Tokenizer* tokenizer, std::vector<std::string> stop_strings, bool continues)
    : tokenizer_(tokenizer), stop_strings_(std::move(stop_strings)), continues_(continues) {}

/// Text behind that which settled before the window: given out, held back, or incomplete.
std::string TextStream::pending() const { return settled_ + tokenizer_->decode(window_).substr(window_skip_bytes_); }

std::string TextStream::push(std::int32_t token, bool may_stop) {
  if (!tokenizer_ || stopped_) return "";
  if (continues_ && window_.empty()) {
    const std::string piece = tokenizer_->piece(token), alone = tokenizer_->decode({&token, 1});
    if (piece.ends_with(alone)) settled_ = piece.substr(0, piece.size() - alone.size());
  }
  window_.push_back(token);
  const std::string decoded = pending();
  const std::string_view complete(decoded.data(), std::max(given_bytes_, complete_size(decoded)));
  std::size_t first_stop = std::string::npos, held = 0;
  if (may_stop)
    for (const std::string& stop : stop_strings_) {
      first_stop = std::min(first_stop, complete.find(stop, given_bytes_));
      held = std::max(held, partial_match(complete.substr(given_bytes_), stop));
    }
  if (first_stop != std::string::npos) {
    stopped_ = true;
    return give_out(decoded, first_stop);
  }
  std::string fresh = give_out(decoded, complete.size() - held);
  begin_window(token, decoded.substr(given_bytes_));
  return fresh;
}

/// Later tokens are decoded behind this one alone, if it is text by itself.
void TextStream::begin_window(std::int32_t token, std::string settled) {
  const std::string alone = tokenizer_->decode({&token, 1});
  if (tokenizer_->is_byte(token) || alone.empty()) return;
  settled_ = std::move(settled);
  given_bytes_ = 0;
  window_ = {token};
  window_skip_bytes_ = alone.size();
}

std::string TextStream::finish() {
  if (!tokenizer_ || stopped_ || window_.empty()) return "";
  const std::string decoded = pending();
  return give_out(decoded, decoded.size());
}

std::string TextStream::give_out(std::string_view pending, std::size_t safe_size) {
  if (safe_size <= given_bytes_) return "";
  std::string fresh(pending.substr(given_bytes_, safe_size - given_bytes_));
  given_bytes_ = safe_size;
  text_ += fresh;
  return fresh;
}

}  // namespace moesaic
