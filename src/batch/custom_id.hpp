#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/hash.hpp"

namespace moesaic::batch {

/// The custom_id that a line of JSON has, if it is a text; reads no further than to there.
std::optional<std::string> custom_id_of(std::string_view line);

/// Finds the lines of an input that have the custom_id of an earlier one. Keeps 24 bytes a line with one.
class RepeatedIds {
 public:
  void add(std::string_view custom_id, std::int64_t line_number);
  /// (first line with its custom_id, this line), by number: what nobody can tell apart in the output.
  std::vector<std::pair<std::int64_t, std::int64_t>> repeats();
  /// Repeated ids as warnings about the file: the first 20 pairs, then how many more there are.
  std::vector<std::string> warnings(const std::string& path);

 private:
  struct Seen {
    Hash128 custom_id;
    std::int64_t line_number;
  };
  std::vector<Seen> seen_;
};

}  // namespace moesaic::batch
