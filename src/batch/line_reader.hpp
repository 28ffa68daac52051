#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/file.hpp"

namespace moesaic::batch {

/// Where a line begins.
struct LinePlace {
  std::int64_t offset_bytes = 0;
  std::int64_t number = 1;  ///< of the line in the file, as an editor counts
  std::int64_t index = 0;   ///< of the request: blank lines before it do not count
};

struct InputLine {
  LinePlace place;
  /// Without its end ("\n" or "\r\n"). Of a line above kLargestLine_bytes the first kLargestLine_bytes + 1: parse_line
  /// refuses it.
  std::string text;
};

/// Reads the lines of a file that are not blank, in order and one at a time: any size of file in the memory of one
/// line. A byte order mark at the file's beginning is skipped.
class LineReader {
 public:
  /// From `start` on, which is a file's beginning or what next_place() of another reader of this file gave.
  explicit LineReader(const std::string& path, LinePlace start = {});

  /// None: the file has ended. Error when it cannot be read.
  std::optional<InputLine> next();
  /// Where next() goes on.
  const LinePlace& next_place() const { return place_; }

 private:
  bool fill();
  std::string take_line();

  io::File file_;
  std::int64_t size_bytes_;
  LinePlace place_;
  std::vector<char> buffer_;  // of the file, from buffer_offset_bytes_ on
  std::int64_t buffer_offset_bytes_ = 0;
};

enum class LineFormat : std::uint8_t { kJson, kText };

/// `option` is jsonl, text or auto: then .jsonl, .ndjson and .json files are JSON, .txt files text, and others what
/// their first line looks like: JSON if it begins with '{'. What is no JSON in a JSON file is an error, never text.
LineFormat choose_format(const std::string& option, const std::string& path);

}  // namespace moesaic::batch
