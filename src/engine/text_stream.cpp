#include "engine/text_stream.hpp"

#include <algorithm>
#include <utility>

namespace moesaic {
namespace {

/// Length of the longest end of `text` that is the beginning, but not the whole, of `stop`.
std::size_t partial_match(std::string_view text, std::string_view stop) {
  for (std::size_t size = std::min(text.size(), stop.size() - 1); size > 0; --size)
    if (stop.starts_with(text.substr(text.size() - size))) return size;
  return 0;
}

}  // namespace

TextStream::TextStream(const io::Tokenizer* tokenizer, std::span<const std::int32_t> prompt,
                       std::vector<std::string> stop_strings)
    : stop_strings_(std::move(stop_strings)) {
  if (tokenizer) detokenizer_.emplace(*tokenizer).skip(prompt);
}

std::string TextStream::push(std::int32_t token, bool may_stop) {
  if (!detokenizer_ || stopped_) return "";
  const std::size_t num_searched = held_.size();
  held_ += detokenizer_->push(token);
  if (const auto stop = may_stop ? first_stop(num_searched) : std::nullopt) {
    stopped_ = true;
    return give_out(*stop);
  }
  std::size_t num_held = 0;
  for (const std::string& stop : stop_strings_) num_held = std::max(num_held, partial_match(held_, stop));
  return give_out(held_.size() - num_held);
}

/// Where the stop string begins that ends first, but behind so many bytes of held_; of those that end there the
/// longest. So the result is the same however the text is divided into tokens.
std::optional<std::size_t> TextStream::first_stop(std::size_t num_searched) const {
  std::optional<std::pair<std::size_t, std::size_t>> first;  // end, begin
  for (const std::string& stop : stop_strings_) {
    const std::size_t begin = held_.find(stop, std::max(num_searched + 1, stop.size()) - stop.size());
    if (begin == std::string::npos) continue;
    const std::pair place(begin + stop.size(), begin);
    first = std::min(first.value_or(place), place);
  }
  return first ? std::optional(first->second) : std::nullopt;
}

std::string TextStream::finish() {
  if (!detokenizer_ || stopped_) return "";
  held_ += detokenizer_->finish();
  return give_out(held_.size());
}

std::string TextStream::give_out(std::size_t num_bytes) {
  std::string fresh = held_.substr(0, num_bytes);
  held_.erase(0, num_bytes);
  text_ += fresh;
  return fresh;
}

}  // namespace moesaic
