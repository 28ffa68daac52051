#include "base/json_text.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/utf8.hpp"

namespace moesaic {
namespace {

template <class Json>
std::string text_of(const Json& value, int indent, bool ascii = false) {
  return value.dump(indent, ' ', ascii, Json::error_handler_t::replace);
}

int nesting_depth(std::string_view text) {
  int depth = 0, deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

std::string json_text(const nlohmann::json& value, int indent) { return text_of(value, indent); }
std::string json_text(const nlohmann::ordered_json& value, int indent) { return text_of(value, indent); }

std::string ascii_json_text(std::string_view text) { return text_of(nlohmann::json(text), -1, true); }

nlohmann::json parse_json(std::string_view text, const std::string& source, const std::string& remedy) {
  constexpr int kDeepest = 16;
  const std::string ending = remedy.empty() ? "" : "; " + remedy;
  if (const auto place = first_invalid_utf8(text))
    fail("{}: not valid JSON: byte {} is 0x{:02x}, which is not UTF-8{}", source, *place,
         static_cast<unsigned char>(text[*place]), ending);
  if (const int depth = nesting_depth(text); depth > kDeepest)
    fail("{}: JSON nested {} levels deep, expected at most {}{}", source, depth, kDeepest, ending);
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    fail("{}: not valid JSON: {}{}", source, error.what(), ending);
  }
}

}  // namespace moesaic
