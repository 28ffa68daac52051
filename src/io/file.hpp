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
  /// Waits until everything written is on the device.
  void sync() const;

 private:
  File(std::string path, int flags);

  std::string path_;
  int descriptor_ = -1;
};

/// The whole file; Error when it is larger than `largest_bytes`.
std::string read_text_file(const std::string& path, std::int64_t largest_bytes);

}  // namespace moesaic::io
