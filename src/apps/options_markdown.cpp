#include "apps/options_markdown.hpp"

#include <fmt/format.h>

#include "apps/shown_command_line.hpp"

namespace moesaic::apps {
namespace {

namespace po = boost::program_options;

/// A cell of a table: a bar would end it.
std::string cell(const std::string& text) {
  std::string escaped;
  for (const char c : text) escaped.append(c == '|' ? "\\" : "").append(1, c);
  return escaped;
}

std::string default_of(const po::option_description& option) {
  if (option.semantic()->max_tokens() == 0) return "off";
  if (option.semantic()->is_required()) return "required";
  boost::any value;
  return option.semantic()->apply_default(value) ? text_of(value) : "";
}

}  // namespace

std::string options_markdown(const std::string& command, const po::options_description& options) {
  std::string text = fmt::format("\n## moesaic {}\n\n| option | default | meaning |\n|---|---|---|\n", command);
  for (const auto& option : options.options())
    text += fmt::format("| `{}` | {} | {} |\n", option->canonical_display_name(po::command_line_style::allow_long),
                        cell(default_of(*option)), cell(option->description()));
  return text;
}

}  // namespace moesaic::apps
