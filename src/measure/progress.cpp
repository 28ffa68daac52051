#include "measure/progress.hpp"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace moesaic::measure {
namespace {

constexpr std::chrono::microseconds kBetweenPolls{20};  ///< the thread sleeps: it may share its core with the experts

/// A thread that polls between start() and stop(), and only then.
class PollingThread {
 public:
  explicit PollingThread(moe::Dispatcher& dispatcher) : dispatcher_(dispatcher), thread_([this] { run(); }) {}
  ~PollingThread() {
    set(State::kEnded);
    thread_.join();
  }
  PollingThread(const PollingThread&) = delete;
  PollingThread& operator=(const PollingThread&) = delete;

  void start() { set(State::kPolling); }
  /// When it returns the thread is outside of MPI.
  void stop() { set(State::kResting); }

 private:
  enum class State { kResting, kPolling, kEnded };

  void set(State state) {
    {
      const std::lock_guard lock(mutex_);
      state_ = state;
    }
    changed_.notify_one();
  }

  /// Each poll is inside the lock, each sleep outside.
  void run() {
    std::unique_lock lock(mutex_);
    while (state_ != State::kEnded) {
      if (state_ == State::kPolling) {
        dispatcher_.poll();
        changed_.wait_for(lock, kBetweenPolls, [this] { return state_ != State::kPolling; });
      } else {
        changed_.wait(lock, [this] { return state_ != State::kResting; });
      }
    }
  }

  moe::Dispatcher& dispatcher_;
  std::mutex mutex_;
  std::condition_variable changed_;
  State state_ = State::kResting;
  std::thread thread_;
};

/// Experts compute between next_batch() and start_combine().
class ProgressingDispatcher final : public moe::Dispatcher {
 public:
  ProgressingDispatcher(bool by_thread, std::unique_ptr<moe::Dispatcher> dispatcher)
      : dispatcher_(std::move(dispatcher)) {
    if (by_thread) thread_ = std::make_unique<PollingThread>(*dispatcher_);
  }

  void start_dispatch(backend::ConstBytes n, const plan::RowMap& rows, const moe::Routing& routing,
                      ModelLayer layer) override {
    dispatcher_->start_dispatch(n, rows, routing, layer);
  }
  bool next_batch(moe::ExpertBatch& batch) override {
    const bool more = dispatcher_->next_batch(batch);
    if (more && thread_) thread_->start();
    return more;
  }
  void poll() override {}  // not by the thread that computes
  void start_combine() override {
    if (thread_) thread_->stop();
    dispatcher_->start_combine();
  }
  void finish_combine(backend::Ptr<float> m) override { dispatcher_->finish_combine(m); }

 private:
  const std::unique_ptr<moe::Dispatcher> dispatcher_;
  std::unique_ptr<PollingThread> thread_;  // ends before what it polls
};

}  // namespace

Progress progress_from(std::string_view word) {
  if (word == "poll") return Progress::kPoll;
  if (word == "thread") return Progress::kThread;
  if (word == "none") return Progress::kNone;
  fail("--progress is '{}', expected poll, thread or none", word);
}

void require_threads_of(Progress progress) {
  int provided = 0;
  MOESAIC_MPI(MPI_Query_thread(&provided));
  if (progress == Progress::kThread && provided < MPI_THREAD_SERIALIZED)
    fail("--progress thread: this MPI offers thread level {}, expected at least {} (MPI_THREAD_SERIALIZED); use poll",
         provided, MPI_THREAD_SERIALIZED);
}

std::unique_ptr<moe::Dispatcher> with_progress(Progress progress, std::unique_ptr<moe::Dispatcher> dispatcher) {
  if (progress == Progress::kPoll) return dispatcher;
  return std::make_unique<ProgressingDispatcher>(progress == Progress::kThread, std::move(dispatcher));
}

}  // namespace moesaic::measure
