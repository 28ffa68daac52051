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

#include "base/error.hpp"
#include "device/binding.hpp"
#include "device/control_groups.hpp"

namespace moesaic::device {
namespace {

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

}  // namespace

std::string host_name() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

std::string cpu_name() {
  std::ifstream stream("/proc/cpuinfo");  // lines are "key\t: value"
  std::string name = "unknown processor", family = "?", model = "?";
  for (std::string line; std::getline(stream, line) && !line.empty();) {
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string key = line.substr(0, line.find_last_not_of("\t ", colon - 1) + 1);
    const std::string value = line.substr(std::min(line.size(), colon + 2));
    if (key == "model name") name = value;
    if (key == "cpu family") family = value;
    if (key == "model") model = value;
  }
  return fmt::format("{}, family {} model {}", name, family, model);
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
  return std::min(available, ControlGroups().memory_left_bytes().value_or(available));
}

std::int64_t peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

int threads_per_rank(int asked, int ranks_with_mask, double quota_share) {
  if (asked > 0) return asked;
  if (const int threads = positive_number("OMP_NUM_THREADS")) return threads;
  if (const int threads = positive_number("SLURM_CPUS_PER_TASK")) return threads;
  const int processors = allowed_processors() / ranks_with_mask;
  return std::max(1, quota_share > 0 ? std::min(processors, static_cast<int>(quota_share)) : processors);
}

int threads_alone() { return threads_per_rank(0, 1, ControlGroups().cpu_quota().processors); }

}  // namespace moesaic::device
