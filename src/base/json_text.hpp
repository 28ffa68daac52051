#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

/// Reading and writing of JSON; no other file calls nlohmann-json's dump() (tests/structure), which throws on bytes
/// that are not UTF-8.
namespace moesaic {

/// A value as JSON text, on one line, or with `indent` spaces a level. Paths, host names and the environment need not
/// be UTF-8: what is not becomes U+FFFD.
std::string json_text(const nlohmann::json& value, int indent = -1);
std::string json_text(const nlohmann::ordered_json& value, int indent = -1);

/// A text as a JSON string of ASCII characters alone, with its quotes.
std::string ascii_json_text(std::string_view text);

/// Parses JSON whose arrays and objects nest at most 16 levels: nlohmann-json's destructor and dump() overflow the
/// stack on deep input, so the depth is counted before anything is built. Error names `source`, says whether the text
/// is not UTF-8, not JSON or too deep, and ends with `remedy`, if there is one ("moesaic calibrate writes such a
/// file").
nlohmann::json parse_json(std::string_view text, const std::string& source, const std::string& remedy = "");

}  // namespace moesaic
