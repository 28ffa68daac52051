#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace moesaic {

/// Index of the first byte that is not part of valid UTF-8: overlong forms, surrogates and what is above U+10FFFF are
/// not valid.
std::optional<std::size_t> first_invalid_utf8(std::string_view text);

/// The text with U+FFFD in place of every byte that is not part of valid UTF-8.
std::string valid_utf8(std::string_view text);

/// How many bytes at the end of `text` are the beginning of a character whose other bytes may follow: 0 to 3.
std::size_t incomplete_at_end(std::string_view text);

/// The text without the white space at its end, as Python's str.rstrip() of valid UTF-8.
std::string_view without_space_at_end(std::string_view text);

/// The first `most_bytes` bytes of valid UTF-8, or fewer, so that no character is cut; "..." tells that there was more.
std::string shortened(std::string_view text, std::size_t most_bytes);

}  // namespace moesaic
