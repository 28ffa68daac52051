#pragma once

#include <cstdint>
#include <map>
#include <utility>

namespace moesaic::apps {

/// Gives things out in the order of their indices, which count from 0, however they come; each once.
template <class T>
class InOrder {
 public:
  /// Calls visit(T) for all that are next in order now.
  template <class Visit>
  void put(std::int64_t index, T value, Visit&& visit) {
    waiting_.emplace(index, std::move(value));
    for (auto first = waiting_.begin(); first != waiting_.end() && first->first == next_; first = waiting_.begin()) {
      visit(first->second);
      waiting_.erase(first);
      ++next_;
    }
  }

 private:
  std::map<std::int64_t, T> waiting_;  // for earlier ones
  std::int64_t next_ = 0;
};

}  // namespace moesaic::apps
