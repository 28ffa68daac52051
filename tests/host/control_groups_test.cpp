#include "host/control_groups.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>

#include "../io/temporary_folder.hpp"

namespace moesaic::host {
namespace {

/// A machine's /proc and hierarchies of groups, as files in a folder.
class FakeMachine {
 public:
  void put(const std::string& path, const std::string& content) {
    std::filesystem::create_directories(std::filesystem::path(folder_->file(path)).parent_path());
    test::write_file(folder_->file(path), content + "\n");
  }
  ControlGroups groups() const { return ControlGroups(folder_->path().string()); }
  double quota() const { return groups().cpu_quota().processors; }

 private:
  std::unique_ptr<test::TemporaryFolder> folder_ = std::make_unique<test::TemporaryFolder>();
};

/// The process is in /job/step of v2, mounted as a whole.
FakeMachine v2_machine() {
  FakeMachine machine;
  machine.put("proc/self/cgroup", "0::/job/step");
  machine.put(
      "proc/self/mountinfo",
      "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw");
  return machine;
}

/// The process is in a group of each v1 controller, cpu together with cpuacct; v2 is there without controllers.
FakeMachine v1_machine() {
  FakeMachine machine;
  machine.put("proc/self/cgroup", "4:memory:/job\n3:cpu,cpuacct:/job\n2:cpuset:/other\n0::/");
  machine.put("proc/self/mountinfo",
              "31 22 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
              "32 22 0:28 / /groups/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
              "33 22 0:29 / /groups/memory rw - cgroup cgroup rw,memory\n"
              "34 22 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup rw");
  return machine;
}

TEST(ControlGroups, WithoutAnyThereIsNoLimit) {
  const FakeMachine machine;
  EXPECT_EQ(machine.quota(), 0);
  EXPECT_FALSE(machine.groups().memory_left_bytes());
}

TEST(ControlGroups, NoQuotaIsNone) {
  FakeMachine machine = v2_machine();
  machine.put("sys/fs/cgroup/job/step/cpu.max", "max 100000");
  EXPECT_EQ(machine.quota(), 0);
  FakeMachine old = v1_machine();
  old.put("groups/cpu,cpuacct/job/cpu.cfs_quota_us", "-1");
  old.put("groups/cpu,cpuacct/job/cpu.cfs_period_us", "100000");
  EXPECT_EQ(old.quota(), 0);
}

TEST(ControlGroups, TheTightestQuotaCountsAlsoOfAGroupAbove) {
  FakeMachine machine = v2_machine();
  machine.put("sys/fs/cgroup/job/step/cpu.max", "150000 100000");
  EXPECT_EQ(machine.quota(), 1.5);
  machine.put("sys/fs/cgroup/job/cpu.max", "25000 50000");
  EXPECT_EQ(machine.quota(), 0.5);
  FakeMachine old = v1_machine();
  old.put("groups/cpu,cpuacct/cpu.cfs_quota_us", "200000");
  old.put("groups/cpu,cpuacct/cpu.cfs_period_us", "100000");
  EXPECT_EQ(old.quota(), 2);
  old.put("groups/cpu,cpuacct/job/cpu.cfs_quota_us", "50000");
  old.put("groups/cpu,cpuacct/job/cpu.cfs_period_us", "100000");
  EXPECT_EQ(old.quota(), 0.5);
}

TEST(ControlGroups, AContainerSeesItsOwnGroupAtTheMount) {
  FakeMachine machine;
  machine.put("proc/self/cgroup", "3:cpu:/docker/abc");
  machine.put("proc/self/mountinfo", "32 22 0:28 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu");
  machine.put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "300000");
  machine.put("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000");
  EXPECT_EQ(machine.quota(), 3);
}

TEST(ControlGroups, GroupsAreToldApart) {
  FakeMachine machine = v2_machine();
  machine.put("sys/fs/cgroup/job/step/cpu.max", "100000 100000");
  const std::uint64_t step = machine.groups().cpu_quota().group;
  machine.put("proc/self/cgroup", "0::/job/another");
  machine.put("sys/fs/cgroup/job/another/cpu.max", "100000 100000");
  EXPECT_NE(machine.groups().cpu_quota().group, step);
}

TEST(ControlGroups, MemoryIsTheLimitLessWhatIsUsedButForCache) {
  FakeMachine machine = v2_machine();
  machine.put("sys/fs/cgroup/job/step/memory.max", "max");
  machine.put("sys/fs/cgroup/job/step/memory.current", "100");
  EXPECT_FALSE(machine.groups().memory_left_bytes());
  machine.put("sys/fs/cgroup/job/memory.max", "1000");
  machine.put("sys/fs/cgroup/job/memory.current", "700");
  machine.put("sys/fs/cgroup/job/memory.stat", "anon 500\ninactive_file 150\nactive_file 50");
  EXPECT_EQ(machine.groups().memory_left_bytes(), 500);
  FakeMachine old = v1_machine();
  old.put("groups/memory/job/memory.limit_in_bytes", "1000");
  old.put("groups/memory/job/memory.usage_in_bytes", "1200");
  EXPECT_EQ(old.groups().memory_left_bytes(), 0);
}

}  // namespace
}  // namespace moesaic::host
