#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.hpp"
#include "io/file.hpp"
#include "openai/request.hpp"

namespace moesaic::batch {

/// Where a line begins.
struct LinePlace {
  std::int64_t offset_bytes = 0;
  std::int64_t number = 1;  ///< of the line in the file, as an editor counts
  std::int64_t index = 0;   ///< of the request: blank lines before it do not count
};

struct InputLine {
  LinePlace place;
  /// The line without its end ("\n" or "\r\n"). Of a line above kLargestLine_bytes the first kLargestLine_bytes + 1:
  /// parse_line refuses it.
  std::string text;
};

/// Content of a file when all of it was read, by which a change is noticed.
struct FileContent {
  std::int64_t size_bytes = 0;
  std::int64_t num_lines = 0;  ///< that are not blank
  Hash128 hash;
  std::filesystem::file_time_type modified;
  std::vector<Hash128> pieces;  ///< hashes of each MiB
};

/// Reads all of it, and calls `visit` with each line that is not blank. Error when it is no regular file, cannot be
/// read, or begins as a file that is no text.
FileContent content_of(const std::string& path, const std::function<void(const InputLine&)>& visit = {});

/// Reads the lines of a file that are not blank, in order and one at a time: any size of file in the memory of one
/// line. A byte order mark at the file's beginning is skipped.
class LineReader {
 public:
  /// expected: the file is read once more, and must still be what it was; outlives this object. Nothing is given out
  /// that it did not hold then.
  explicit LineReader(const std::string& path, const FileContent* expected = nullptr);

  /// None: the file has ended. Error when it cannot be read, or is not what is expected.
  std::optional<InputLine> next();
  /// Error when the path names another file than the one that is read, or that one has another size or time of change
  /// than expected.
  void check_unchanged() const;

 private:
  friend FileContent content_of(const std::string& path, const std::function<void(const InputLine&)>& visit);
  bool fill();
  std::string take_line();
  [[noreturn]] void fail_changed() const;

  io::File file_;
  const FileContent* expected_;
  std::int64_t size_bytes_;
  LinePlace place_;
  Hasher hasher_;
  std::vector<Hash128> pieces_;  // read so far
  std::vector<char> buffer_;     // of the file, from buffer_offset_bytes_ on
  std::int64_t buffer_offset_bytes_ = 0;
};

/// .jsonl, .ndjson and .json files are JSON, .txt files text, and others what their first line looks like: JSON if it
/// begins with '{', or with '[' as an array of objects does. Error for .csv and .tsv files: each of their lines would
/// be taken for a prompt.
openai::LineFormat guess_format(const std::string& path);

}  // namespace moesaic::batch
