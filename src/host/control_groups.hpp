#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "host/placement.hpp"

namespace moesaic::host {

/// The control groups (cgroup v1 and v2) that this process is in, and what they and the groups above them leave it.
class ControlGroups {
 public:
  /// root: where /proc and the file systems of groups are looked for; a folder with copies of them in tests.
  explicit ControlGroups(std::string root = "");

  /// Bytes until the tightest memory limit, page cache that can be given back counted as free; none without a limit.
  std::optional<std::int64_t> memory_left_bytes() const;
  /// The tightest CPU quota (cpu.max, cpu.cfs_quota_us); 0 processors without one.
  CpuQuota cpu_quota() const;

 private:
  /// The folders of this process's groups of a controller, the innermost first.
  std::vector<std::string> folders(const std::string& controller) const;

  std::string root_;
};

}  // namespace moesaic::host
