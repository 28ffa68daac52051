#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/range.hpp"

/// The threads of this process, and loops that they share out. A team of our own, because how waiting is done decides
/// the speed of decoding: between two loops lie microseconds, so threads that have a core to themselves look out for
/// the next loop and threads that share one sleep. A loop never waits for a thread that has not begun to work on it.
namespace moesaic {

struct TeamOptions {
  int num_threads = 1;  ///< threads that work on a loop; the one that calls it is one of them
  bool spin = false;    ///< whether each thread has a core to itself, so that waiting may use it
  /// Called in each thread that is made, once, with its number from 1.
  std::function<void(int thread)> at_start;
};

/// Replaces this process's team. Error when not so many threads can be made: one is left then. At the start there is
/// one thread. This and the loops below are for one thread at a time, the bodies of loops apart.
void make_team(const TeamOptions& options);

/// While it lives, `call` is made by the thread that starts a loop when it has done a range of it, at most once in 100
/// us, for what must go on meanwhile (messages). One at a time.
class BetweenRanges {
 public:
  explicit BetweenRanges(std::function<void()> call);
  ~BetweenRanges();
  BetweenRanges(const BetweenRanges&) = delete;
  BetweenRanges& operator=(const BetweenRanges&) = delete;
};

/// While it lives, the loops of the thread that made it run in that thread alone: for threads beside the one that the
/// team works for.
class LoopsOfOneThread {
 public:
  LoopsOfOneThread();
  ~LoopsOfOneThread();
  LoopsOfOneThread(const LoopsOfOneThread&) = delete;
  LoopsOfOneThread& operator=(const LoopsOfOneThread&) = delete;

 private:
  bool outer_;
};

/// Threads that a loop would be shared out to here: 1 inside a loop that is shared out itself.
int num_threads();

namespace parallel {

/// Shares out a loop whose body is a plain function, body(context, range); see parallel_ranges().
using Body = void (*)(const void* context, Range range);
void run(std::int64_t num_items, std::int64_t most_items, const void* context, Body body);

}  // namespace parallel

/// Calls body(Range) for ranges that cover [0, num_items), by all threads at once: long ones first, of at most
/// `most_items`, then ever shorter ones, so that all threads end together. Inside a loop: by the calling thread alone.
/// The first exception that a body throws is thrown here when all threads have stopped.
template <class Work>
void parallel_ranges(std::int64_t num_items, std::int64_t most_items, const Work& work) {
  parallel::run(num_items, most_items, &work,
                [](const void* context, Range range) { (*static_cast<const Work*>(context))(range); });
}

/// Calls body(item) for items [0, num_items), ascending in each thread, by all threads at once.
template <class Work>
void parallel_for(std::int64_t num_items, const Work& work) {
  parallel_ranges(num_items, 1, [&work](Range range) { work(range.begin); });
}

/// As parallel_for(), in ranges of at least `grain` items, for items that are little work.
template <class Work>
void parallel_for(std::int64_t num_items, std::int64_t grain, const Work& work) {
  parallel_for((num_items + grain - 1) / grain, [&](std::int64_t part) {
    for (std::int64_t i = part * grain, end = std::min(num_items, i + grain); i < end; ++i) work(i);
  });
}

}  // namespace moesaic
