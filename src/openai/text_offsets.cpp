#include "openai/text_offsets.hpp"

#include <string>

#include "base/utf8.hpp"

namespace moesaic::openai {

std::int64_t TextOffsets::next(std::string_view bytes) {
  const std::string shown = valid_utf8(bytes);
  for (std::string_view form : {bytes, std::string_view(shown)}) {
    if (has(form)) return pass(form.size());
    while (at_bytes_ == 0 && form.starts_with(' ')) {
      form.remove_prefix(1);
      if (has(form)) return pass(form.size());
    }
  }
  const std::size_t later = text_.find(bytes, at_bytes_);
  if (later == std::string_view::npos) return num_characters_;
  pass(later - at_bytes_);
  return pass(bytes.size());
}

/// The characters before these bytes.
std::int64_t TextOffsets::pass(std::size_t num_bytes) {
  const std::int64_t before = num_characters_;
  for (const char byte : text_.substr(at_bytes_, num_bytes))
    num_characters_ += (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
  at_bytes_ += num_bytes;
  return before;
}

}  // namespace moesaic::openai
