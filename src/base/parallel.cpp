#include "base/parallel.hpp"

#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/error.hpp"

namespace moesaic {
namespace {

using Clock = std::chrono::steady_clock;

/// Longer than what lies between two kernels, shorter than what would be missed on a busy machine.
constexpr std::chrono::microseconds kSpin{2000};
/// A thread that waits for the end of a loop sleeps when it has no core to itself, but not for the last few
/// microseconds of the others.
constexpr std::chrono::microseconds kShortSpin{20};
/// A look at MPI is some system calls over TCP: after each range of small matrices they took a quarter of the time.
constexpr std::chrono::microseconds kPauseBetweenCalls{100};

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// Whether done() became true within `time`.
template <class Done>
bool spin_until(std::chrono::microseconds time, const Done& done) {
  constexpr int kLooks = 64;  // between two looks at the clock
  if (done()) return true;
  if (time.count() == 0) return false;
  const auto end = Clock::now() + time;
  do {
    for (int i = 0; i < kLooks; ++i) {
      if (done()) return true;
      pause();
    }
  } while (Clock::now() < end);
  return false;
}

/// The loop in hand as one word: its number, whether threads may still join it, whether the caller sleeps until the
/// last one has left, and how many have joined.
struct State {
  static constexpr std::uint32_t kJoined = (1u << 12) - 1, kOpen = 1u << 12, kCallerSleeps = 1u << 13,
                                 kNumber = 1u << 14;
  static constexpr bool same_loop(std::uint32_t a, std::uint32_t b) { return a / kNumber == b / kNumber; }
};

thread_local bool inside_loop = false;
std::function<void()> g_between_ranges;

class Team {
 public:
  explicit Team(const TeamOptions& options) : options_(options) {
    try {
      for (int thread = 1; thread < options_.num_threads; ++thread)
        threads_.emplace_back([this, thread] { serve(thread); });
    } catch (const std::system_error& error) {
      const std::size_t made = threads_.size() + 1;
      end();
      fail(
          "only {} of {} threads could be made ({}); give fewer --threads, or raise what limits them: "
          "ulimit -u, ulimit -v, the control group's pids.max",
          made, options_.num_threads, error.what());
    }
  }
  ~Team() { end(); }
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int num_threads() const { return options_.num_threads; }

  void run(std::int64_t num_items, std::int64_t most_items, const void* context, parallel::Body body) {
    num_items_ = num_items;
    most_items_ = most_items;
    context_ = context;
    body_ = body;
    failure_ = nullptr;
    next_item_.store(0, std::memory_order_relaxed);
    state_ = (state_ / State::kNumber + 1) * State::kNumber + State::kOpen;
    if (num_sleepers_ > 0) state_.notify_all();
    work(g_between_ranges);
    state_ &= ~State::kOpen;
    wait_for_the_others();
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  void end() {
    stop_ = true;
    state_ += State::kNumber;
    state_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void serve(int thread) {
    inside_loop = true;
    if (options_.at_start) options_.at_start(thread);
    std::uint32_t seen = 0;
    while (!stop_) {
      seen = wait_for_a_loop(seen);
      if (!join(seen)) continue;
      work({});
      const std::uint32_t before = state_.fetch_sub(1);
      if ((before & State::kJoined) == 1 && (before & State::kCallerSleeps) != 0) state_.notify_all();
    }
  }

  /// Returns the state of a loop that comes after the one seen last.
  std::uint32_t wait_for_a_loop(std::uint32_t seen) {
    std::uint32_t now = state_;
    const auto has_come = [&] { return !State::same_loop(now = state_, seen) || stop_; };
    if (spin_until(options_.spin ? kSpin : std::chrono::microseconds{0}, has_come)) return now;
    ++num_sleepers_;  // the caller looks at it after it has changed the state, this thread the other way round
    while (!has_come()) state_.wait(now);
    --num_sleepers_;
    return now;
  }

  /// Whether the loop was still open.
  bool join(std::uint32_t seen) {
    std::uint32_t now = seen;
    while ((now & State::kOpen) != 0 && State::same_loop(now, seen))
      if (state_.compare_exchange_weak(now, now + 1)) return true;
    return false;
  }

  void work(const std::function<void()>& between) {
    const bool was_inside = std::exchange(inside_loop, true);
    try {
      for (Range range = take(); !range.empty(); range = take()) {
        body_(context_, range);
        if (between) between();
      }
    } catch (...) {
      next_item_ = num_items_;
      const std::lock_guard lock(failure_mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
    inside_loop = was_inside;
  }

  Range take() {
    std::int64_t first = next_item_.load(std::memory_order_relaxed), size = 0;
    do {
      if (first >= num_items_) return {};
      size = std::clamp<std::int64_t>((num_items_ - first) / (2 * options_.num_threads), 1, most_items_);
    } while (!next_item_.compare_exchange_weak(first, first + size, std::memory_order_relaxed));
    return {first, first + size};
  }

  void wait_for_the_others() {
    const auto have_left = [&] { return (state_ & State::kJoined) == 0; };
    if (spin_until(options_.spin ? kSpin : kShortSpin, have_left)) return;
    std::uint32_t now = state_ |= State::kCallerSleeps;
    for (; (now & State::kJoined) != 0; now = state_) state_.wait(now);
  }

  TeamOptions options_;
  // The loop in hand: written before state_ opens it, read by those who have joined.
  std::int64_t num_items_ = 0, most_items_ = 1;
  const void* context_ = nullptr;
  parallel::Body body_ = nullptr;
  std::exception_ptr failure_;
  std::mutex failure_mutex_;
  alignas(64) std::atomic<std::int64_t> next_item_ = 0;
  alignas(64) std::atomic<std::uint32_t> state_ = 0;
  alignas(64) std::atomic<int> num_sleepers_ = 0;
  std::atomic<bool> stop_ = false;
  std::vector<std::thread> threads_;  // last: they use the rest
};

std::unique_ptr<Team>& team() {
  static std::unique_ptr<Team> the_team = std::make_unique<Team>(TeamOptions{});
  return the_team;
}

}  // namespace

void make_team(const TeamOptions& options) {
  team() = std::make_unique<Team>(TeamOptions{});  // the old one's threads end before new ones begin
  team() = std::make_unique<Team>(options);
}

BetweenRanges::BetweenRanges(std::function<void()> call) {
  g_between_ranges = [call = std::move(call), next = Clock::time_point()]() mutable {
    if (Clock::now() < next) return;
    call();
    next = Clock::now() + kPauseBetweenCalls;
  };
}
BetweenRanges::~BetweenRanges() { g_between_ranges = nullptr; }

LoopsOfOneThread::LoopsOfOneThread() : outer_(std::exchange(inside_loop, true)) {}
LoopsOfOneThread::~LoopsOfOneThread() { inside_loop = outer_; }

int num_threads() { return inside_loop ? 1 : team()->num_threads(); }

void parallel::run(std::int64_t num_items, std::int64_t most_items, const void* context, Body body) {
  if (num_items <= 0) return;
  if (num_items > 1 && num_threads() > 1) return team()->run(num_items, most_items, context, body);
  for (std::int64_t first = 0; first < num_items; first += most_items) {
    body(context, {first, std::min(first + most_items, num_items)});
    if (g_between_ranges && !inside_loop) g_between_ranges();
  }
}

}  // namespace moesaic
