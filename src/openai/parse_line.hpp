#pragma once

#include <string_view>
#include <variant>

#include "openai/request.hpp"

namespace moesaic::openai {

/// A line (without its end) as a request. Never throws for what the line holds; depends on nothing but its arguments.
std::variant<Request, LineError> parse_line(std::string_view line, LineFormat format, const RequestDefaults& defaults);

}  // namespace moesaic::openai
