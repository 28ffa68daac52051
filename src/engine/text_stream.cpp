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

TextStream::TextStream(const io::Tokenizer* tokenizer, std::vector<std::string> stop_strings)
    : tokenizer_(tokenizer), stop_strings_(std::move(stop_strings)) {}

std::string TextStream::push(std::int32_t token) {
  if (!tokenizer_ || stopped_) return "";
  tokens_.push_back(token);
  const std::string decoded = tokenizer_->decode(tokens_);
  std::size_t first_stop = std::string::npos;
  for (const std::string& stop : stop_strings_) first_stop = std::min(first_stop, decoded.find(stop));
  if (first_stop != std::string::npos) {
    stopped_ = true;
    return give_out(decoded, first_stop);
  }
  const std::size_t complete = complete_size(decoded);
  std::size_t held = 0;
  for (const std::string& stop : stop_strings_)
    held = std::max(held, partial_match(std::string_view(decoded).substr(0, complete), stop));
  return give_out(decoded, complete - held);
}

std::string TextStream::finish() {
  if (!tokenizer_ || stopped_) return "";
  const std::string decoded = tokenizer_->decode(tokens_);
  return give_out(decoded, decoded.size());
}

std::string TextStream::give_out(std::string_view decoded, std::size_t safe_size) {
  if (safe_size <= text_.size()) return "";
  std::string fresh(decoded.substr(text_.size(), safe_size - text_.size()));
  text_ += fresh;
  return fresh;
}

}  // namespace moesaic
