#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace moesaic::io {

/// Parses JSON whose arrays and objects nest at most `deepest` levels: nlohmann-json's destructor and dump() overflow
/// the stack on deep input, so the depth is counted before anything is built. Error names `source`.
nlohmann::json parse_json(std::string_view text, const std::string& source, int deepest = 16);

}  // namespace moesaic::io
