#include "base/out_of_memory.hpp"

#include "base/units.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace moesaic {
namespace {

std::atomic<const char*> g_purpose = nullptr;

/// Pages that this process has mapped, and those of data and stack among them.
struct Pages {
  long all = 0, data = 0;
};

Pages mapped_pages() {
  Pages pages;
  char text[256] = {};
  const int file = ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);  // size resident shared text lib data dirty
  if (file < 0) return pages;
  if (::read(file, text, sizeof text - 1) > 0)
    (void)std::sscanf(text, "%ld %*d %*d %*d %*d %ld", &pages.all, &pages.data);
  ::close(file);
  return pages;
}

}  // namespace

std::optional<ProcessLimit> tightest_process_limit() {
  const Pages pages = mapped_pages();
  const std::int64_t page_bytes = ::sysconf(_SC_PAGESIZE);
  std::optional<ProcessLimit> tightest;
  const auto look_at = [&](auto resource, const char* option, long used) {
    rlimit limit{};
    if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
    const ProcessLimit one{option, static_cast<std::int64_t>(limit.rlim_cur), used * page_bytes};
    if (!tightest || one.left_bytes() < tightest->left_bytes()) tightest = one;
  };
  look_at(RLIMIT_AS, "ulimit -v", pages.all);
  look_at(RLIMIT_DATA, "ulimit -d", pages.data);
  return tightest;
}

MemoryPurpose::MemoryPurpose(const char* purpose) : outer_(g_purpose.exchange(purpose)) {}
MemoryPurpose::~MemoryPurpose() { g_purpose = outer_; }

OutOfMemory::OutOfMemory(std::size_t size_bytes) noexcept {
  const char* purpose = g_purpose;
  int end = std::snprintf(text_, sizeof text_, "out of memory: %.1f MiB could not be had",
                          static_cast<double>(size_bytes) / kMiB);
  const auto add = [&](auto... arguments) {
    if (end < static_cast<int>(sizeof text_))
      end += std::snprintf(text_ + end, sizeof text_ - static_cast<std::size_t>(end), arguments...);
  };
  if (purpose) add(" for %s", purpose);
  if (const auto limit = tightest_process_limit(); limit && limit->left_bytes() < static_cast<std::int64_t>(size_bytes))
    add("; the limit of %s is %.0f MiB, and %.0f MiB are in use: raise it", limit->option,
        static_cast<double>(limit->limit_bytes) / kMiB, static_cast<double>(limit->used_bytes) / kMiB);
}

}  // namespace moesaic

// So that memory of containers and strings says how much it was, too. Sanitizers bring their own.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
void* operator new(std::size_t size_bytes) {
  if (void* memory = std::malloc(size_bytes == 0 ? 1 : size_bytes)) return memory;
  throw moesaic::OutOfMemory(size_bytes);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
#endif
