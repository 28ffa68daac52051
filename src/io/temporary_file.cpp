#include "io/temporary_file.hpp"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <utility>

#include "base/error.hpp"
#include "io/partial_files.hpp"

namespace moesaic::io {
namespace {

/// What the signal handler removes: paths of fixed size, since it may not touch the heap.
struct Slot {
  std::atomic<bool> used{false};
  char path[PATH_MAX];
};
std::array<Slot, 8> slots;
static_assert(std::atomic<bool>::is_always_lock_free);

void remove_and_end(int signal) {
  for (const Slot& slot : slots)
    if (slot.used.load()) ::unlink(slot.path);
  std::signal(signal, SIG_DFL);
  std::raise(signal);  // comes once the handler has returned
}

/// Only signals that would end the process: some are ignored (as nohup wants it), others stop a run or an answer.
void catch_signals() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
    struct sigaction now {};
    if (::sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_DFL) std::signal(signal, remove_and_end);
  }
}

/// The file that a link names, so that the link stays one; also if there is no such file yet.
std::string target_of(const std::string& path) {
  constexpr int kMostLinks = 40;  // as the kernel follows
  std::filesystem::path target = path;
  std::error_code error;
  for (int i = 0; i < kMostLinks && std::filesystem::is_symlink(target, error); ++i) {
    const std::filesystem::path next = std::filesystem::read_symlink(target, error);
    if (error) break;
    target = target.parent_path() / next;
  }
  return target.string();
}

}  // namespace

TemporaryFile::Listed::Listed(const std::string& path) {
  if (path.size() >= PATH_MAX) fail("{}: the name is too long", path);
  for (slot_ = 0; slot_ < slots.size(); ++slot_) {
    if (slots[slot_].used.load()) continue;
    std::memcpy(slots[slot_].path, path.c_str(), path.size() + 1);
    slots[slot_].used.store(true);
    return;
  }
  throw std::logic_error("more temporary files than slots");
}

bool TemporaryFile::Listed::release() {
  if (slot_ == slots.size()) return false;
  return slots[std::exchange(slot_, slots.size())].used.exchange(false);
}

TemporaryFile::TemporaryFile(const std::string& path)
    : path_(target_of(path)),
      temporary_path_(new_partial_name(path_)),
      listed_(temporary_path_),
      file_(File::create_new(temporary_path_)),
      lock_(file_.try_lock()) {
  report_partial_files(path_, temporary_path_);
  catch_signals();
}

TemporaryFile::~TemporaryFile() {
  if (listed_.release()) ::unlink(temporary_path_.c_str());
}

void TemporaryFile::append(std::string_view text) {
  file_.write_at(size_bytes_, std::as_bytes(std::span(text)));
  size_bytes_ += std::ssize(text);
}

void TemporaryFile::publish() {
  file_.sync();
  if (std::rename(temporary_path_.c_str(), path_.c_str()) != 0)
    fail("{}: cannot be renamed to {}: {}", temporary_path_, path_, std::strerror(errno));
  listed_.release();
  sync_folder_of(path_);
}

}  // namespace moesaic::io
