#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "io/file.hpp"

namespace moesaic::io {

/// Where the result NAME lies until it is whole: NAME.partial-XXXXXXXX, with eight random hexadecimal digits. (The
/// number of a process would name another one's file too: in containers it is the same in every run.) Returns a name
/// that no file has.
std::string new_partial_name(const std::string& path);

/// A partial file that another run has left, or is writing.
struct PartialFile {
  std::string path;
  std::int64_t size_bytes = 0;
  std::chrono::seconds age{0};  ///< since it was last written
  File::Lock lock = File::Lock::kUnsupported;
};

/// The partial files of the result `path`, by name. A run holds the lock of its own as long as it lives.
std::vector<PartialFile> partial_files_of(const std::string& path);

/// What a user should know of a partial file of the result `path`: whose it is, its size and age, and what to do with
/// it.
std::string describe(const PartialFile& file, const std::string& path);

/// Logs a warning for each partial file of the result `path` but `own`, this run's. None is removed: without locks that
/// reach all nodes, nobody can know that no other node still writes it.
void report_partial_files(const std::string& path, const std::string& own = "");

}  // namespace moesaic::io
