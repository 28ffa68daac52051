#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "io/file.hpp"

namespace moesaic::io {

/// The place of a result that gets its name once it is whole. Until then it lies beside it under a partial name
/// (io/partial_files.hpp), locked where the file system can, and is removed when this object ends or when SIGINT,
/// SIGTERM, SIGHUP or SIGUSR1 ends the process. A process that is killed leaves it; the next run for the same name
/// reports it.
class TemporaryFile {
 public:
  /// Creates it, empty, beside the result `path`, or beside the file that this names as a link. Error when it cannot be.
  /// Logs what earlier runs have left of the same result.
  explicit TemporaryFile(const std::string& path);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  /// For those who open it themselves: HDF5, other ranks.
  const std::string& temporary_path() const { return file_.path(); }
  const File& file() const { return file_; }
  File::Lock lock() const { return lock_; }
  /// Writes at the end of what was appended before. Error when not all of it can be written.
  void append(std::string_view text);
  /// Waits until the content is on the device and gives the file its name, replacing what had it. Error: the file keeps
  /// its partial name, and ends with this object.
  void publish();

 private:
  /// A place in the list of files that the signal handler removes.
  class Listed {
   public:
    explicit Listed(const std::string& path);
    ~Listed() { release(); }
    Listed(const Listed&) = delete;
    Listed& operator=(const Listed&) = delete;
    /// Takes the file off the list; whether it was on it.
    bool release();

   private:
    std::size_t slot_;
  };

  std::string path_, temporary_path_;
  Listed listed_;
  File file_;
  File::Lock lock_;
  std::int64_t size_bytes_ = 0;
};

}  // namespace moesaic::io
