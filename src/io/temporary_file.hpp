#pragma once

#include <cstddef>
#include <string>

namespace moesaic::io {

/// The place of a result that gets its name once it is whole. Until then it lies beside it under a temporary name, and
/// is removed when this object ends or when SIGINT, SIGTERM, SIGHUP or SIGUSR1 ends the process.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string path);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const std::string& temporary_path() const { return temporary_path_; }
  /// Gives the file its name, replacing what had it.
  void publish();

 private:
  std::string path_, temporary_path_;
  std::size_t slot_;  ///< in the signal handler's list
};

}  // namespace moesaic::io
