#include "io/token_file.hpp"

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/json_text.hpp"
#include "io/file.hpp"
#include "io/foreign_format.hpp"

namespace moesaic::io {
namespace {

constexpr std::int64_t kLargestFileBytes = std::int64_t{256} << 20;

/// A value as an error shows it.
std::string shown(const nlohmann::json& value) {
  if (value.is_array()) return fmt::format("a list of {}", value.size());
  if (value.is_object()) return "an object";
  std::string text = json_text(value);
  if (text.size() > 40) text = text.substr(0, 40) + "...";
  return text;
}

void check_id(std::int64_t id, const std::string& what, std::size_t position, const TokenLimits& limits) {
  if (id == 0) fail("{}: token {} is 0, which is padding and may not occur in a prompt", what, position);
  if (id < 0 || id >= limits.vocab_size)
    fail("{}: token {} is {}, expected 1 to {} (the vocabulary has {})", what, position, id, limits.vocab_size - 1,
         limits.vocab_size);
}

void check_length(std::size_t length, const std::string& what, const TokenLimits& limits) {
  if (length == 0) fail("{}: is empty, expected at least one token", what);
  if (limits.sequence_len && length > static_cast<std::size_t>(*limits.sequence_len))
    fail("{}: has {} tokens, the model's context is {}", what, length, *limits.sequence_len);
}

}  // namespace

std::vector<std::vector<std::int32_t>> parse_token_lists(std::string_view text, const std::string& source,
                                                         const TokenLimits& limits) {
  const auto root = parse_json(text, source);
  if (!root.is_array()) fail("{}: is {}, expected a list of token lists like [[5, 6, 7], [8]]", source, shown(root));
  if (root.empty()) fail("{}: is an empty list, expected at least one token list", source);
  std::vector<std::vector<std::int32_t>> lists;
  lists.reserve(root.size());
  for (std::size_t i = 0; i < root.size(); ++i) {
    const std::string what = fmt::format("{}: list {}", source, i);
    if (!root[i].is_array())
      fail("{}: entry {} is {}, expected a token list (the file is a list of lists like [[5, 6, 7], [8]])", source, i,
           shown(root[i]));
    check_length(root[i].size(), what, limits);
    auto& list = lists.emplace_back();
    list.reserve(root[i].size());
    for (std::size_t t = 0; t < root[i].size(); ++t) {
      const auto& value = root[i][t];
      if (!value.is_number_integer()) fail("{}: token {} is {}, expected an integer", what, t, shown(value));
      // An unsigned value beyond int64 would turn negative: still out of range, but it is shown as it was written.
      if (value.is_number_unsigned() && value.get<std::uint64_t>() >= static_cast<std::uint64_t>(limits.vocab_size))
        fail("{}: token {} is {}, expected 1 to {} (the vocabulary has {})", what, t, shown(value),
             limits.vocab_size - 1, limits.vocab_size);
      check_id(value.get<std::int64_t>(), what, t, limits);
      list.push_back(value.get<std::int32_t>());
    }
  }
  return lists;
}

std::vector<std::vector<std::int32_t>> read_token_file(const std::string& path, const TokenLimits& limits) {
  const std::string text = read_text_file(path, kLargestFileBytes);
  require_text(text, path);
  return parse_token_lists(text, path, limits);
}

void check_tokens(std::span<const std::int32_t> tokens, const std::string& what, const TokenLimits& limits) {
  check_length(tokens.size(), what, limits);
  for (std::size_t t = 0; t < tokens.size(); ++t) check_id(tokens[t], what, t, limits);
}

}  // namespace moesaic::io
