#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace moesaic::io {

/// Largest single read() or write(): some file systems and MPI-IO layers fail from 2 GiB on.
inline constexpr std::size_t kLargestTransfer_bytes = std::size_t{1} << 30;

/// An open file with positioned, complete, checked transfers; move-only. Errors name the path and the system's reason;
/// reads and writes at different offsets may run in several threads at once.
class File {
 public:
  static File open_for_reading(const std::string& path);
  static File open_for_writing(const std::string& path);  ///< must exist
  static File create_new(const std::string& path);        ///< Error when the path exists
  static File open_or_create(const std::string& path);    ///< for reading and writing

  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  const std::string& path() const { return path_; }
  int descriptor() const { return descriptor_; }
  std::int64_t size_bytes() const;

  /// Fills `bytes` from `offset_bytes`; Error when the file ends before.
  void read_at(std::int64_t offset_bytes, std::span<std::byte> bytes) const;
  /// Error when not everything can be written (disk full, quota, file size limit ...).
  void write_at(std::int64_t offset_bytes, std::span<const std::byte> bytes) const;
  /// Cuts the file, or extends it by zeros.
  void resize(std::int64_t size_bytes) const;
  /// Waits until everything written is on the device.
  void sync() const;

  /// Whether path() still names this file: it was neither removed nor replaced.
  bool is_at_its_path() const;
  enum class Lock : std::uint8_t { kOurs, kHeldByAnother, kUnsupported };
  /// Locks the whole file against other openings of it, on all nodes where the file system can, until it is closed.
  Lock try_lock() const;
  /// What try_lock() would find, without locking anything; kOurs: no other opening of the file has a lock.
  Lock peek_lock() const;

 private:
  File(std::string path, int flags);

  std::string path_;
  int descriptor_ = -1;
};

/// Makes names given and taken in the folder of `path` last, where the file system can do that.
void sync_folder_of(const std::string& path);

/// The whole file; Error when it is larger than `largest_bytes`.
std::string read_text_file(const std::string& path, std::int64_t largest_bytes);

}  // namespace moesaic::io
