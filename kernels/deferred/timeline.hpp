#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace moesaic::deferred {

/// Work in the order in which it was given, done by a thread of its own when somebody waits for it.
class Timeline {
 public:
  Timeline();
  /// Does what is left.
  ~Timeline();

  /// Returns the number of this piece of work, from 1.
  std::uint64_t add(std::function<void()> work);
  std::uint64_t last() const { return num_added_; }
  /// Returns when all work up to a number is done; throws what the first piece that failed has thrown.
  void wait(std::uint64_t number);

 private:
  void serve();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> work_;
  std::uint64_t num_added_ = 0, num_wanted_ = 0, num_done_ = 0;
  bool ends_ = false;
  std::exception_ptr failure_;
  std::thread thread_;  // last: it uses the rest
};

}  // namespace moesaic::deferred
