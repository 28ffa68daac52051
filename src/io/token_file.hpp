#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moesaic::io {

/// What the ids of a prompt must satisfy.
struct TokenLimits {
  std::int64_t vocab_size = 0;                    ///< ids are 1 .. vocab_size - 1; 0 is padding
  std::optional<std::int64_t> sequence_len = {};  ///< most tokens a list may have
};

/// Reads a JSON list of token lists. Error names the file, and the list and position of a bad id.
std::vector<std::vector<std::int32_t>> read_token_file(const std::string& path, const TokenLimits& limits);

/// The same from text; `source` names it in errors.
std::vector<std::vector<std::int32_t>> parse_token_lists(std::string_view text, const std::string& source,
                                                         const TokenLimits& limits);

/// The same checks for ids from elsewhere (a tokenizer, say); `what` begins the error: "prompt 3".
void check_tokens(std::span<const std::int32_t> tokens, const std::string& what, const TokenLimits& limits);

}  // namespace moesaic::io
