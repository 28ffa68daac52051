#include "host/control_groups.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <utility>

namespace moesaic::host {
namespace {

std::optional<std::int64_t> number_in(const std::string& file) {
  std::ifstream stream(file);
  std::int64_t value = 0;
  if (stream >> value) return value;
  return std::nullopt;
}

/// Whether a list of words with commas has this one.
bool has_word(const std::string& list, const std::string& word) {
  return fmt::format(",{},", list).find("," + word + ",") != std::string::npos;
}

/// Where a hierarchy of groups can be seen: the group `top` of it lies at `point`.
struct Mount {
  std::string top, point;
};

/// A line of /proc/self/mountinfo: "30 24 0:26 /top /point rw - cgroup name rw,memory", with "cgroup2" for v2.
std::optional<Mount> mount_in(const std::string& line, const std::string& controller, bool v2) {
  std::istringstream before(line);
  std::string skipped, type, name, options;
  Mount mount;
  before >> skipped >> skipped >> skipped >> mount.top >> mount.point;
  const std::size_t end = line.find(" - ");
  if (end == std::string::npos) return std::nullopt;
  std::istringstream after(line.substr(end + 3));
  after >> type >> name >> options;
  if (v2 ? type != "cgroup2" : type != "cgroup" || !has_word(options, controller)) return std::nullopt;
  return mount;
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

/// Processors that a group may use on average; 0: it has no quota of its own.
double quota_of(const std::string& folder) {
  double quota_us = 0, period_us = 0;
  if (std::ifstream v2(folder + "/cpu.max"); v2 >> quota_us >> period_us)  // "max 100000": no number
    return period_us > 0 ? quota_us / period_us : 0;
  const auto quota = number_in(folder + "/cpu.cfs_quota_us"), period = number_in(folder + "/cpu.cfs_period_us");
  return quota && period && *quota > 0 && *period > 0 ? static_cast<double>(*quota) / static_cast<double>(*period) : 0;
}

}  // namespace

ControlGroups::ControlGroups(std::string root) : root_(std::move(root)) {}

std::vector<std::string> ControlGroups::folders(const std::string& controller) const {
  std::vector<std::string> folders;
  std::ifstream file(root_ + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // "4:memory:/a/b", in v2 "0::/a/b"
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v2 = controllers.empty();
    if (!v2 && !has_word(controllers, controller)) continue;
    std::ifstream mounts(root_ + "/proc/self/mountinfo");
    for (std::string text; std::getline(mounts, text);) {
      const auto mount = mount_in(text, controller, v2);
      if (!mount) continue;
      // In a container the mount may begin at its own group, and the path at the machine's first one.
      std::string path = line.substr(second + 1);
      if (mount->top != "/" && (path + "/").starts_with(mount->top + "/")) path.erase(0, mount->top.size());
      for (; path.size() > 1 && path.front() == '/'; path.resize(path.rfind('/')))
        folders.push_back(root_ + mount->point + path);
      folders.push_back(root_ + mount->point);
      break;
    }
  }
  return folders;
}

std::optional<std::int64_t> ControlGroups::memory_left_bytes() const {
  std::optional<std::int64_t> least;
  for (const std::string& folder : folders("memory"))
    for (const auto& [limit_name, used_name] :
         {std::pair("/memory.max", "/memory.current"), std::pair("/memory.limit_in_bytes", "/memory.usage_in_bytes")}) {
      const auto limit = number_in(folder + limit_name), used = number_in(folder + used_name);
      if (!limit || !used) continue;
      const std::int64_t left = std::max<std::int64_t>(*limit - *used + cached_bytes(folder), 0);
      least = std::min(least.value_or(left), left);
    }
  return least;
}

CpuQuota ControlGroups::cpu_quota() const {
  CpuQuota tightest;
  for (const std::string& folder : folders("cpu")) {
    const double processors = quota_of(folder);
    if (processors <= 0 || (tightest.processors > 0 && processors >= tightest.processors)) continue;
    struct stat status {};
    if (::stat(folder.c_str(), &status) == 0) tightest = {processors, status.st_ino};
  }
  return tightest;
}

}  // namespace moesaic::host
