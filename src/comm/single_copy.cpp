#include "comm/single_copy.hpp"

#include "comm/share.hpp"

#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

namespace moesaic::comm {
namespace {

constexpr std::uint64_t kSecret = 0x6d6f6573616963;

/// Whether process `pid` has kSecret at `address`, and this one may see it.
bool reads_secret(pid_t pid, std::uint64_t* address) {
  std::uint64_t found = 0;
  const iovec here{&found, sizeof found}, there{address, sizeof found};
  return ::process_vm_readv(pid, &here, 1, &there, 1, 0) == sizeof found && found == kSecret;
}

/// A child stands for the other ranks, which are not known before MPI_Init: system call filters, ptrace_scope and files
/// with capabilities forbid reading it as they forbid reading siblings. Where there can be no child, this process
/// itself shows what filters forbid.
bool reads_others() {
  std::uint64_t secret = kSecret;
  const pid_t parent = ::getpid(), child = ::fork();
  if (child < 0) return reads_secret(::getpid(), &secret);
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (::getppid() == parent) ::pause();  // a parent that died before the call above sends nothing
    ::_exit(0);
  }
  const bool reads = reads_secret(child, &secret);
  ::kill(child, SIGKILL);
  while (::waitpid(child, nullptr, 0) == -1 && errno == EINTR) {
  }
  return reads;
}

}  // namespace

void avoid_forbidden_reads() {
  const bool has_xpmem = ::access("/dev/xpmem", F_OK) == 0;  // goes another way
  if (std::getenv(kSingleCopySetting) || has_xpmem) return;
  if (!reads_others()) ::setenv(kSingleCopySetting, "none", 1);
}

bool reads_neighbour(const Communicator& node) {
  struct Place {
    pid_t pid;
    std::uint64_t* address;
  };
  std::uint64_t secret = kSecret;
  const auto places = exchange_values(node, Place{::getpid(), &secret});
  const Place& next = places[static_cast<std::size_t>((node.rank() + 1) % node.size())];
  const bool reads = node.size() == 1 || reads_secret(next.pid, next.address);
  node.barrier();  // the secret lies on the stack of this function
  return reads;
}

}  // namespace moesaic::comm
