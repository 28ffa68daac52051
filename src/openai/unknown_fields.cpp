#include "openai/unknown_fields.hpp"

#include <fmt/format.h>

#include "base/json_text.hpp"
#include "base/utf8.hpp"

namespace moesaic::openai {

std::optional<std::string> UnknownFields::warning(const std::string& name) {
  if (more_) return std::nullopt;
  const std::string quoted = ascii_json_text(shortened(name, kMostName_bytes));
  const std::string shown = quoted.substr(1, quoted.size() - 2);
  if (names_.contains(shown)) return std::nullopt;
  if (names_.size() == kMostNames) {
    more_ = true;
    return "other fields mean nothing here too and are ignored; they are not named";
  }
  names_.insert(shown);
  return fmt::format("the field '{}' means nothing here and is ignored", shown);
}

}  // namespace moesaic::openai
