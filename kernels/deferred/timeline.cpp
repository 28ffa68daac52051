#include "timeline.hpp"

#include <utility>

#include "base/denormals.hpp"
#include "base/parallel.hpp"

namespace moesaic::deferred {

Timeline::Timeline() : thread_([this] { serve(); }) {}

Timeline::~Timeline() {
  {
    const std::lock_guard lock(mutex_);
    num_wanted_ = num_added_;
    ends_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

std::uint64_t Timeline::add(std::function<void()> work) {
  const std::lock_guard lock(mutex_);
  work_.push_back(std::move(work));
  return ++num_added_;
}

void Timeline::wait(std::uint64_t number) {
  std::unique_lock lock(mutex_);
  num_wanted_ = std::max(num_wanted_, number);
  changed_.notify_all();
  changed_.wait(lock, [&] { return num_done_ >= number; });
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Timeline::serve() {
  flush_denormals();
  const LoopsOfOneThread alone;  // the team is the host thread's
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return num_wanted_ > num_done_ || ends_; });
    if (num_wanted_ == num_done_) return;
    std::exception_ptr failed;
    {
      const std::function<void()> work = std::move(work_.front());
      work_.pop_front();
      lock.unlock();
      try {
        work();
      } catch (...) {
        failed = std::current_exception();
      }
    }
    lock.lock();
    if (failed && !failure_) failure_ = failed;
    ++num_done_;
    changed_.notify_all();
  }
}

}  // namespace moesaic::deferred
