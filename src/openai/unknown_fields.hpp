#pragma once

#include <cstddef>
#include <optional>
#include <set>
#include <string>

namespace moesaic::openai {

/// What a log says about fields that mean nothing: each once, and no more of them than somebody reads, since names are
/// whatever the input has.
class UnknownFields {
 public:
  static constexpr std::size_t kMostNames = 20, kMostName_bytes = 64;

  /// The warning about this field, if it needs one: ASCII, one line, short.
  std::optional<std::string> warning(const std::string& name);

 private:
  std::set<std::string> names_;  // as shown
  bool more_ = false;            // that there are others was said
};

}  // namespace moesaic::openai
