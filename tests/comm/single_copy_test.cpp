#include "comm/single_copy.hpp"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <string>

namespace moesaic::comm {
namespace {

/// As Docker's filter of system calls does it for processes without SYS_PTRACE. Whether the kernel took it.
bool forbid_reads() {
  sock_filter filter[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 0, 1),
                          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
                          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog program{std::size(filter), filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

constexpr int kNotSet = 10, kNone = 11, kOther = 12, kNoFilter = 13;

/// What the setting is after avoid_forbidden_reads(), in a process of its own, as one of the numbers above.
int setting_of(bool forbidden, const char* before) {
  const pid_t child = fork();
  if (child == 0) {
    before ? setenv(kSingleCopySetting, before, 1) : unsetenv(kSingleCopySetting);
    if (forbidden && !forbid_reads()) _exit(kNoFilter);
    avoid_forbidden_reads();
    const char* after = std::getenv(kSingleCopySetting);
    _exit(!after ? kNotSet : std::string(after) == "none" ? kNone : kOther);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}

TEST(SingleCopy, IsTurnedOffWhereReadsAreForbiddenUnlessTheUserHasChosen) {
  const int forbidden = setting_of(true, nullptr);
  if (forbidden == kNoFilter) GTEST_SKIP() << "the kernel takes no filter of system calls";
  EXPECT_EQ(forbidden, kNone);
  EXPECT_EQ(setting_of(true, "cma"), kOther);
}

TEST(SingleCopy, WithoutAFilterTheMachineDecides) {
  const int allowed = setting_of(false, nullptr);
  EXPECT_TRUE(allowed == kNotSet || allowed == kNone) << allowed;
}

}  // namespace
}  // namespace moesaic::comm
