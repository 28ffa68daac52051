#include "base/utf8.hpp"

#include <algorithm>

namespace moesaic {
namespace {

bool continues(unsigned char byte) { return (byte & 0xC0) == 0x80; }

/// Bytes of the character that `text` begins with; 0: it is not valid (Unicode 15, table 3-7).
std::size_t character_size(std::string_view text) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : static_cast<unsigned char>(0);
  };
  const unsigned char first = byte(0), second = byte(1);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(byte(1)) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const bool overlong = first == 0xE0 && second < 0xA0, surrogate = first == 0xED && second > 0x9F;
    return continues(byte(1)) && continues(byte(2)) && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool overlong = first == 0xF0 && second < 0x90, too_large = first == 0xF4 && second > 0x8F;
    return continues(byte(1)) && continues(byte(2)) && continues(byte(3)) && !overlong && !too_large ? 4 : 0;
  }
  return 0;
}

/// Bytes of the white space character that `text` ends with; 0: it ends with another.
std::size_t space_at_end(std::string_view text) {
  constexpr std::string_view kWide[] = {"\u0085", "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003",
                                        "\u2004", "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200a",
                                        "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"};
  const char last = text.empty() ? 'x' : text.back();
  if (last == ' ' || (last >= '\t' && last <= '\r') || (last >= '\x1c' && last <= '\x1f')) return 1;
  for (const std::string_view space : kWide)
    if (text.ends_with(space)) return space.size();
  return 0;
}

}  // namespace

std::string_view without_space_at_end(std::string_view text) {
  while (const std::size_t size = space_at_end(text)) text.remove_suffix(size);
  return text;
}

std::optional<std::size_t> first_invalid_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t size = character_size(text.substr(i, 4));
    if (size == 0) return i;
    i += size;
  }
  return std::nullopt;
}

std::string valid_utf8(std::string_view text) {
  std::string valid;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t size = character_size(text.substr(i, 4));
    valid += size == 0 ? std::string_view("\xEF\xBF\xBD") : text.substr(i, size);
    i += size == 0 ? 1 : size;
  }
  return valid;
}

std::size_t incomplete_at_end(std::string_view text) {
  for (std::size_t size = std::min<std::size_t>(3, text.size()); size > 0; --size) {
    const std::string end(text.substr(text.size() - size));
    // Of the bytes that may follow a character's first one, each first one allows the least or the largest.
    for (const char* rest : {"\x80\x80\x80", "\xBF\xBF\xBF"})
      if (character_size(end + rest) > size) return size;
  }
  return 0;
}

std::string shortened(std::string_view text, std::size_t most_bytes) {
  if (text.size() <= most_bytes) return std::string(text);
  while (most_bytes > 0 && continues(static_cast<unsigned char>(text[most_bytes]))) --most_bytes;
  return std::string(text.substr(0, most_bytes)) + "...";
}

}  // namespace moesaic
