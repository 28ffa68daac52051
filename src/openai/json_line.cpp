#include "openai/json_line.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/json_text.hpp"
#include "base/utf8.hpp"

namespace moesaic::openai {
namespace {

using nlohmann::json;

/// nlohmann-json's words between "[its code] its position: " and the text that it had read.
std::string reason_of(const json::exception& error) {
  std::string_view what = error.what();
  what.remove_prefix(what.find("] ") + 2);
  if (const auto column = what.find("column "); column != std::string_view::npos)
    if (const auto colon = what.find(": ", column); colon != std::string_view::npos) what.remove_prefix(colon + 2);
  return shortened(what.substr(0, what.find("; last read")), 120);
}

/// Watches the parser, which does not recurse, so that depth is refused before anything deep is built.
class Watch {
 public:
  bool operator()(int depth, json::parse_event_t event, json& parsed) {
    switch (event) {
      case json::parse_event_t::object_start:
      case json::parse_event_t::array_start:
        if (depth >= kDeepestNesting) fail("JSON nested more than {} levels deep", kDeepestNesting);
        if (event == json::parse_event_t::object_start) keys_.emplace_back();
        break;
      case json::parse_event_t::object_end:
        keys_.pop_back();
        break;
      case json::parse_event_t::key:
        if (!keys_.back().insert(parsed.get<std::string>()).second)
          fail("the key {} is there twice in one object", describe(parsed));
        break;
      default:
        break;
    }
    return true;
  }

 private:
  std::vector<std::set<std::string>> keys_;  // of the open objects
};

}  // namespace

void check_text(std::string_view line) {
  if (line.size() > kLargestLine_bytes) fail("longer than {} MiB, the most that is read", kLargestLine_bytes >> 20);
  if (const auto place = line.find('\0'); place != std::string_view::npos) fail("a NUL byte (at byte {})", place);
  if (const auto place = first_invalid_utf8(line))
    fail("not UTF-8 (byte {} is 0x{:02x})", *place, static_cast<unsigned char>(line[*place]));
}

json parse_object(std::string_view line) {
  check_text(line);
  json value;
  try {
    value = json::parse(line, Watch());
  } catch (const json::parse_error& error) {
    fail("not valid JSON (at byte {}): {}", error.byte, reason_of(error));
  } catch (const json::exception& error) {
    fail("not valid JSON: {}", reason_of(error));
  }
  if (!value.is_object()) fail("not a JSON object but {}", describe(value));
  return value;
}

const json* Fields::find(const char* name) {
  known_.insert(name);
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::optional<bool> Fields::boolean(const char* name) {
  const json* value = find(name);
  if (!value) return std::nullopt;
  if (!value->is_boolean()) fail("{}{} is {}, expected true or false", prefix_, name, describe(*value));
  return value->get<bool>();
}

std::optional<std::int64_t> Fields::integer(const char* name, std::int64_t low, std::int64_t high) {
  const json* value = find(name);
  if (!value) return std::nullopt;
  const bool fits = value->is_number_unsigned() ? value->get<std::uint64_t>() <= std::uint64_t{INT64_MAX}
                                                : value->is_number_integer();
  if (!fits || value->get<std::int64_t>() < low || value->get<std::int64_t>() > high)
    fail("{}{} is {}, expected an integer from {} to {}", prefix_, name, describe(*value), low, high);
  return value->get<std::int64_t>();
}

std::optional<float> Fields::number(const char* name, float low, float high) {
  const json* value = find(name);
  if (!value) return std::nullopt;
  const double wide = value->is_number() ? value->get<double>() : NAN;
  if (!(std::abs(wide) <= 1e30) || !(static_cast<float>(wide) >= low && static_cast<float>(wide) <= high))
    fail("{}{} is {}, expected a number from {} to {}", prefix_, name, describe(*value), low, high);
  return static_cast<float>(wide);
}

std::optional<std::string> Fields::text(const char* name) {
  const json* value = find(name);
  if (!value) return std::nullopt;
  if (!value->is_string()) fail("{}{} is {}, expected a string", prefix_, name, describe(*value));
  return value->get<std::string>();
}

void Fields::add_unknown(const Fields& inner, const std::string& path) {
  for (const std::string& name : inner.unknown()) unknown_within_.insert(path + name);
}

std::vector<std::string> Fields::unknown() const {
  std::set<std::string> names = unknown_within_;
  for (const auto& item : object_.items())
    if (!item.value().is_null() && !known_.contains(item.key())) names.insert(item.key());
  return {names.begin(), names.end()};
}

std::string describe(const json& value) {
  constexpr std::size_t kShown_bytes = 40;
  if (value.is_array()) return fmt::format("a list of {}", value.size());
  if (value.is_object()) return "an object";
  if (value.is_string()) return fmt::format("'{}'", shortened(value.get_ref<const std::string&>(), kShown_bytes));
  return json_text(value);
}

}  // namespace moesaic::openai
