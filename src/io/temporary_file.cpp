#include "io/temporary_file.hpp"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/error.hpp"

namespace moesaic::io {
namespace {

/// What the signal handler removes: paths of fixed size, since it may not touch the heap.
struct Slot {
  std::atomic<bool> used{false};
  char path[PATH_MAX];
};
std::array<Slot, 4> slots;
static_assert(std::atomic<bool>::is_always_lock_free);

void remove_and_end(int signal) {
  for (const Slot& slot : slots)
    if (slot.used.load()) ::unlink(slot.path);
  std::signal(signal, SIG_DFL);
  std::raise(signal);  // comes once the handler has returned
}

void catch_signals() {
  static const bool once = [] {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1})
      if (std::signal(signal, remove_and_end) == SIG_IGN) std::signal(signal, SIG_IGN);  // as nohup wants it
    return true;
  }();
  (void)once;
}

std::size_t take_slot(const std::string& path) {
  if (path.size() >= PATH_MAX) fail("{}: the name is too long", path);
  for (std::size_t i = 0; i < slots.size(); ++i) {
    if (slots[i].used.load()) continue;
    std::memcpy(slots[i].path, path.c_str(), path.size() + 1);
    slots[i].used.store(true);
    return i;
  }
  throw std::logic_error("more temporary files than slots");
}

}  // namespace

TemporaryFile::TemporaryFile(std::string path)
    : path_(std::move(path)),
      temporary_path_(fmt::format("{}.partial-{}", path_, ::getpid())),
      slot_(take_slot(temporary_path_)) {
  catch_signals();
}

TemporaryFile::~TemporaryFile() {
  if (slots[slot_].used.exchange(false)) ::unlink(temporary_path_.c_str());
}

void TemporaryFile::publish() {
  if (std::rename(temporary_path_.c_str(), path_.c_str()) != 0)
    fail("{}: cannot be renamed to {}: {}", temporary_path_, path_, std::strerror(errno));
  slots[slot_].used.store(false);
}

}  // namespace moesaic::io
