#pragma once

#include <mutex>
#include <utility>
#include <vector>

namespace moesaic {

/// A queue that several threads fill and empty; nobody waits for more than another's push or take.
template <class T>
class SharedQueue {
 public:
  void push(T element) {
    const std::lock_guard lock(mutex_);
    elements_.push_back(std::move(element));
  }
  /// Takes all there is, oldest first.
  std::vector<T> take_all() {
    const std::lock_guard lock(mutex_);
    return std::exchange(elements_, {});
  }
  std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return elements_.size();
  }

 private:
  mutable std::mutex mutex_;
  std::vector<T> elements_;
};

}  // namespace moesaic
