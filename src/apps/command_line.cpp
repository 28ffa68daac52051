#include "apps/command_line.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/hash.hpp"

namespace moesaic::apps {
namespace {

constexpr std::string_view kHidden = "'...'";

/// Options with texts of users.
constexpr std::string_view kTextOptions[] = {"--prompt", "--stop", "--system"};

bool is_text_option(std::string_view argument) {
  return std::find(std::begin(kTextOptions), std::end(kTextOptions), argument) != std::end(kTextOptions);
}

std::string quoted(const std::string& word) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:,=+@%-";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? "'\\''" : std::string(1, c);
  return text + "'";
}

}  // namespace

std::string command_line(const std::string& command, const std::vector<std::string>& arguments) {
  const bool counts_tokens = command.starts_with("plan");  // its --prompt is a number of them
  std::string line = command;
  bool hide = false;
  for (const std::string& argument : arguments) {
    const std::size_t equals = argument.find('=');
    if (hide)
      line += fmt::format(" {}", kHidden);
    else if (!counts_tokens && equals != std::string::npos && is_text_option(argument.substr(0, equals)))
      line += fmt::format(" {}={}", argument.substr(0, equals), kHidden);
    else
      line += " " + quoted(argument);
    hide = !counts_tokens && is_text_option(argument);
  }
  return line;
}

std::string distinct_command_line(const std::string& command, const std::vector<std::string>& arguments) {
  const std::string line = command_line(command, arguments);
  if (line.find(kHidden) == std::string::npos) return line;
  std::string whole;
  for (const std::string& argument : arguments) whole += argument + '\0';
  return fmt::format("{} (texts: {})", line, hash_bytes(std::as_bytes(std::span(whole))).hex().substr(0, 12));
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
