#include "io/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/error.hpp"

namespace moesaic::io {
namespace {

/// The system's reason and, where it helps, what to do.
std::string reason(int code) {
  switch (code) {
    case ENOSPC:
      return "no space left on the device; free some or write elsewhere";
    case EDQUOT:
      return "disk quota exceeded; free some or write elsewhere";
    case EFBIG:
      return "file size limit exceeded; raise it (ulimit -f) or write elsewhere";
    case EROFS:
      return fmt::format("{}; write elsewhere", std::strerror(code));
    default:
      return std::strerror(code);
  }
}

/// A lock on all of a file that nobody else may have a lock on.
struct flock whole_file() {
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  return whole;
}

}  // namespace

File::File(std::string path, int flags) : path_(std::move(path)) {
  constexpr int kMode = 0666;
  do descriptor_ = ::open(path_.c_str(), flags | O_CLOEXEC, kMode);
  while (descriptor_ < 0 && errno == EINTR);
  if (descriptor_ < 0) {
    const std::string why = reason(errno);
    const bool is_new = (flags & O_CREAT) != 0 && ::access(path_.c_str(), F_OK) != 0;
    fail("{}: cannot be {}: {}", path_, is_new ? "created" : "opened", why);
  }
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    fail("{}: not a regular file", path_);
  }
}

/// Without O_NONBLOCK a pipe that nobody writes to would not even open, to be refused.
File File::open_for_reading(const std::string& path) { return {path, O_RDONLY | O_NONBLOCK}; }
File File::open_for_writing(const std::string& path) { return {path, O_RDWR}; }
File File::create_new(const std::string& path) { return {path, O_RDWR | O_CREAT | O_EXCL}; }

File File::open_or_create(const std::string& path) { return {path, O_RDWR | O_CREAT}; }

File::File(File&& other) noexcept : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

File& File::operator=(File&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::int64_t File::size_bytes() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) fail("{}: fstat: {}", path_, reason(errno));
  return status.st_size;
}

void File::read_at(std::int64_t offset_bytes, std::span<std::byte> bytes) const {
  for (std::size_t done = 0; done < bytes.size();) {
    const std::size_t part = std::min(bytes.size() - done, kLargestTransfer_bytes);
    const std::int64_t from = offset_bytes + static_cast<std::int64_t>(done);
    const ssize_t got = ::pread(descriptor_, bytes.data() + done, part, from);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("{}: reading {} bytes at byte {}: {}", path_, part, from, reason(errno));
    if (got == 0) fail("{}: ends at byte {}, {} bytes more were expected", path_, from, bytes.size() - done);
    done += static_cast<std::size_t>(got);
  }
}

void File::write_at(std::int64_t offset_bytes, std::span<const std::byte> bytes) const {
  for (std::size_t done = 0; done < bytes.size();) {
    const std::size_t part = std::min(bytes.size() - done, kLargestTransfer_bytes);
    const std::int64_t to = offset_bytes + static_cast<std::int64_t>(done);
    const ssize_t put = ::pwrite(descriptor_, bytes.data() + done, part, to);
    if (put < 0 && errno == EINTR) continue;
    // A short write is not an error yet: the rest is tried again and brings the reason.
    if (put <= 0)
      fail("{}: writing {} bytes at byte {}: {}", path_, part, to, put < 0 ? reason(errno) : "nothing written");
    done += static_cast<std::size_t>(put);
  }
}

void File::sync() const {
  if (::fsync(descriptor_) != 0) fail("{}: fsync: {}", path_, reason(errno));
}

void File::resize(std::int64_t size_bytes) const {
  if (::ftruncate(descriptor_, size_bytes) != 0)
    fail("{}: ftruncate to {} bytes: {}", path_, size_bytes, reason(errno));
}

bool File::is_at_its_path() const {
  struct stat opened {
  }, named{};
  return ::fstat(descriptor_, &opened) == 0 && ::stat(path_.c_str(), &named) == 0 && opened.st_dev == named.st_dev &&
         opened.st_ino == named.st_ino;
}

File::Lock File::try_lock() const {
  struct flock whole = whole_file();
  // A lock of the open file: a process's own one would end with any other opening of this file in it.
  if (::fcntl(descriptor_, F_OFD_SETLK, &whole) == 0) return Lock::kOurs;
  return errno == EAGAIN || errno == EACCES ? Lock::kHeldByAnother : Lock::kUnsupported;
}

File::Lock File::peek_lock() const {
  struct flock whole = whole_file();
  if (::fcntl(descriptor_, F_OFD_GETLK, &whole) != 0) return Lock::kUnsupported;
  return whole.l_type == F_UNLCK ? Lock::kOurs : Lock::kHeldByAnother;
}

void sync_folder_of(const std::string& path) {
  const auto folder_path = std::filesystem::absolute(path).parent_path();
  const int folder = ::open(folder_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  (void)::fsync(folder);  // not every file system can do it
  ::close(folder);
}

std::string read_text_file(const std::string& path, std::int64_t largest_bytes) {
  const File file = File::open_for_reading(path);
  const std::int64_t size_bytes = file.size_bytes();
  if (size_bytes > largest_bytes) fail("{}: has {} bytes, expected at most {}", path, size_bytes, largest_bytes);
  std::string text(static_cast<std::size_t>(size_bytes), '\0');
  file.read_at(0, std::as_writable_bytes(std::span(text)));
  return text;
}

}  // namespace moesaic::io
