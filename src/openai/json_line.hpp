#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace moesaic::openai {

inline constexpr std::size_t kLargestLine_bytes = std::size_t{16} << 20;
inline constexpr int kDeepestNesting = 64;

/// Error when a line is too long, has a NUL byte or is not UTF-8.
void check_text(std::string_view line);

/// Parses a line that must be one JSON object without duplicate keys. Error says what is wrong, in a few words.
nlohmann::json parse_object(std::string_view line);

/// The fields of an object as they are asked for, so that those nobody asked for can be reported. null is as good as
/// absent. An Error names the field, what was expected and what was found.
class Fields {
 public:
  /// prefix: of their names in an Error.
  explicit Fields(const nlohmann::json& object, std::string prefix = "")
      : object_(object), prefix_(std::move(prefix)) {}

  const nlohmann::json* find(const char* name);
  std::optional<bool> boolean(const char* name);
  std::optional<std::int64_t> integer(const char* name, std::int64_t low, std::int64_t high);
  std::optional<float> number(const char* name, float low, float high);
  std::optional<std::string> text(const char* name);
  /// A field that is known to change no result.
  void ignore(const char* name) { known_.insert(name); }
  /// What nobody asked `inner` for, which are the fields of an object within this one, is unknown here too, behind
  /// `path`: "messages[]." for all elements of a list alike.
  void add_unknown(const Fields& inner, const std::string& path);
  /// Paths of the fields that were not asked for and are not null, ascending, each once.
  std::vector<std::string> unknown() const;

 private:
  const nlohmann::json& object_;
  std::string prefix_;
  std::set<std::string, std::less<>> known_;
  std::set<std::string> unknown_within_;  // paths
};

/// A value as an error message shows it: short, whatever it is.
std::string describe(const nlohmann::json& value);

}  // namespace moesaic::openai
