#include "apps/shown_command_line.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "base/hash.hpp"

namespace moesaic::apps {
namespace {

/// Options with texts of users.
constexpr std::string_view kTextOptions[] = {"--prompt", "--stop", "--system"};

bool is_text_option(std::string_view argument) {
  return std::find(std::begin(kTextOptions), std::end(kTextOptions), argument) != std::end(kTextOptions);
}

std::string quoted(const std::string& word) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:,=+@%-";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string text = "'";
  for (const char c : word) text.append(c == '\'' ? "'\\'" : "").append(1, c);
  return text + "'";
}

/// The command with what `shown` makes of each text of a user.
std::string line_of(const std::string& command, const std::vector<std::string>& arguments,
                    const std::function<std::string(std::string_view)>& shown) {
  const bool counts_tokens = command.starts_with("plan");  // its --prompt is a number of them
  std::string line = command;
  bool is_text = false;
  for (const std::string& argument : arguments) {
    const std::size_t equals = argument.find('=');
    if (is_text)
      line.append(1, ' ').append(shown(argument));
    else if (!counts_tokens && equals != std::string::npos && is_text_option(argument.substr(0, equals)))
      line += fmt::format(" {}={}", argument.substr(0, equals), shown(argument.substr(equals + 1)));
    else
      line.append(1, ' ').append(quoted(argument));
    is_text = !counts_tokens && is_text_option(argument);
  }
  return line;
}

}  // namespace

std::string shown_command_line(const std::string& command, const std::vector<std::string>& arguments) {
  return line_of(command, arguments, [](std::string_view) { return "'...'"; });
}

std::string distinct_command_line(const std::string& command, const std::vector<std::string>& arguments) {
  return line_of(command, arguments, [](std::string_view text) {
    return fmt::format("(text {})", hash_bytes(std::as_bytes(std::span(text))).hex().substr(0, 12));
  });
}

std::string defaults(const boost::program_options::options_description& options,
                     const boost::program_options::variables_map& map) {
  std::string line;
  for (const auto& option : options.options()) {
    const auto& value = map[option->long_name()];
    if (value.empty() || !value.defaulted()) continue;
    if (const std::string text = text_of(value.value()); !text.empty())
      line += fmt::format("{}--{} {}", line.empty() ? "" : " ", option->long_name(), quoted(text));
  }
  return line;
}

std::string text_of(const boost::any& value) {
  if (const auto* text = boost::any_cast<std::string>(&value)) return *text;
  if (const auto* number = boost::any_cast<int>(&value)) return fmt::format("{}", *number);
  if (const auto* number = boost::any_cast<std::int64_t>(&value)) return fmt::format("{}", *number);
  if (const auto* number = boost::any_cast<float>(&value)) return fmt::format("{}", *number);
  return "";
}

}  // namespace moesaic::apps
