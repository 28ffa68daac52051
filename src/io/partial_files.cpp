#include "io/partial_files.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include "base/counted.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "host/progress.hpp"

namespace moesaic::io {
namespace {

namespace fs = std::filesystem;

constexpr const char* kInfix = ".partial-";

std::string age_text(std::chrono::seconds age) {
  const auto s = age.count();
  if (s < 120) return counted(s, "second");
  if (s < 2 * 3600) return counted(s / 60, "minute");
  if (s < 48 * 3600) return counted(s / 3600, "hour");
  return counted(s / (24 * 3600), "day");
}

/// Lock of a partial file; kUnsupported when it cannot be opened, since nobody can know more of it then.
File::Lock lock_of(const std::string& path) {
  try {
    return File::open_for_reading(path).peek_lock();
  } catch (const Error&) {
    return File::Lock::kUnsupported;
  }
}

}  // namespace

std::string new_partial_name(const std::string& path) {
  std::random_device random;
  while (true) {
    const std::string name = fmt::format("{}{}{:08x}", path, kInfix, random());
    struct stat status {};
    if (::lstat(name.c_str(), &status) != 0) return name;  // free, or of a kind that creating it has an error for
  }
}

std::vector<PartialFile> partial_files_of(const std::string& path) {
  const fs::path result(path);
  const std::string begin = result.filename().string() + kInfix;
  std::vector<PartialFile> files;
  std::error_code error;
  const fs::path folder = result.has_parent_path() ? result.parent_path() : ".";
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(begin)) continue;
    const std::string found = (result.parent_path() / name).string();
    struct stat status {};
    if (::stat(found.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
    const auto written = std::chrono::system_clock::from_time_t(status.st_mtime);
    const auto age = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now() - written);
    files.push_back({found, status.st_size, std::max(age, std::chrono::seconds(0)), lock_of(found)});
  }
  std::ranges::sort(files, {}, &PartialFile::path);
  return files;
}

std::string describe(const PartialFile& file, const std::string& path) {
  const std::string facts =
      fmt::format("{}: {}, last written {} ago", file.path, host::readable_bytes(file.size_bytes), age_text(file.age));
  switch (file.lock) {
    case File::Lock::kHeldByAnother:
      return fmt::format("{}: another run is writing {}; the one that ends last leaves its result there", facts, path);
    case File::Lock::kOurs:
      return facts + ": left by a run that was killed, since no process holds its lock; remove it";
    case File::Lock::kUnsupported:
      break;
  }
  return facts +
         ": left by a run that was killed, or written at this moment (there are no locks to tell); remove it if no run "
         "writes it";
}

void report_partial_files(const std::string& path, const std::string& own) {
  constexpr std::ptrdiff_t kMost = 5;
  auto files = partial_files_of(path);
  std::erase_if(files, [&](const PartialFile& file) { return file.path == own; });
  for (std::ptrdiff_t i = 0; i < std::min(kMost, std::ssize(files)); ++i)
    spdlog::warn("{}", describe(files[static_cast<std::size_t>(i)], path));
  if (std::ssize(files) > kMost) {
    std::int64_t size_bytes = 0;
    for (const PartialFile& file : files) size_bytes += file.size_bytes;
    spdlog::warn("{} such files of {} are there in all, {}", files.size(), path, host::readable_bytes(size_bytes));
  }
}

}  // namespace moesaic::io
