#include "device/machine.hpp"

#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "device/binding.hpp"

namespace moesaic::device {
namespace {

std::optional<std::int64_t> number_in(const std::string& file) {
  std::ifstream stream(file);
  std::int64_t value = 0;
  if (stream >> value) return value;
  return std::nullopt;
}

/// The number that a variable begins with (OMP_NUM_THREADS may be a list); 0: it is not set, or empty.
int positive_number(const char* variable) {
  constexpr int kMost = 4096;
  const char* text = std::getenv(variable);
  if (!text) return 0;
  int value = 0;
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), value);
  if (*text == '\0') return 0;
  if (error != std::errc() || (*end != '\0' && *end != ',') || value < 1 || value > kMost)
    fail("{} is '{}', expected 1 to {} threads; set it, or give --threads", variable, text, kMost);
  return value;
}

/// The control groups of this process that may limit its memory: cgroup v2 and v1, each with the groups above it.
std::vector<std::string> memory_groups() {
  std::vector<std::string> folders;
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // "4:memory:/a/b", in v2 "0::/a/b"
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = fmt::format(",{},", line.substr(first + 1, second - first - 1));
    const bool v2 = controllers == ",,";
    if (!v2 && controllers.find(",memory,") == std::string::npos) continue;
    const std::string mount = v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    for (std::string path = line.substr(second + 1); !path.empty() && path != "/"; path.resize(path.rfind('/')))
      folders.push_back(mount + path);
    folders.push_back(mount);
  }
  return folders;
}

/// Page cache in a group's account, which the kernel gives back before it refuses memory.
std::int64_t cached_bytes(const std::string& folder) {
  std::int64_t own = 0, total = 0, value = 0;  // v1 keeps what its subgroups have apart, v2 has the total only
  std::ifstream stat(folder + "/memory.stat");
  for (std::string key; stat >> key >> value;) {
    if (key == "inactive_file" || key == "active_file") own += value;
    if (key == "total_inactive_file" || key == "total_active_file") total += value;
  }
  return std::max(own, total);
}

}  // namespace

std::string host_name() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

int allowed_processors() { return static_cast<int>(initial_mask().count()); }

std::int64_t available_shared_memory_bytes() {
  struct statvfs space {};
  if (::statvfs("/dev/shm", &space) != 0) return 0;
  return static_cast<std::int64_t>(space.f_bavail) * static_cast<std::int64_t>(space.f_frsize);
}

std::int64_t available_memory_bytes() {
  std::int64_t available = std::numeric_limits<std::int64_t>::max();
  std::ifstream meminfo("/proc/meminfo");
  for (std::string key, unit; meminfo >> key;) {
    std::int64_t kib = 0;
    if (key == "MemAvailable:" && meminfo >> kib) available = kib * 1024;
    std::getline(meminfo, unit);
  }
  for (const std::string& folder : memory_groups())
    for (const auto& [limit_name, used_name] :
         {std::pair("/memory.max", "/memory.current"), std::pair("/memory.limit_in_bytes", "/memory.usage_in_bytes")}) {
      const auto limit = number_in(folder + limit_name), used = number_in(folder + used_name);
      if (limit && used) available = std::min(available, *limit - *used + cached_bytes(folder));
    }
  return std::max<std::int64_t>(available, 0);
}

std::int64_t peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

int threads_per_rank(int asked, int ranks_with_mask) {
  if (asked > 0) return asked;
  if (const int threads = positive_number("OMP_NUM_THREADS")) return threads;
  if (const int threads = positive_number("SLURM_CPUS_PER_TASK")) return threads;
  return std::max(1, allowed_processors() / ranks_with_mask);
}

}  // namespace moesaic::device
