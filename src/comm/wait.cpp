#include "comm/wait.hpp"

#include <algorithm>
#include <thread>

namespace moesaic::comm {
namespace {

using Seconds = std::chrono::duration<double>;

bool g_patient = false;

/// Seconds waited by world rank, and last for all ranks of a communicator together.
class WaitCounter {
 public:
  void start() {
    on_ = true;
    seconds_.resize(hosts().size() + 1);
    peers_.reserve(seconds_.size());
  }
  void begin(const Wait& wait) {
    if (!on_) return;
    peers_.clear();
    if (wait.peers) peers_ = *wait.peers;
    begin_ = std::chrono::steady_clock::now();
  }
  /// A wait that any of several peers ends is shared out evenly.
  void end() {
    if (!on_) return;
    const double seconds = Seconds(std::chrono::steady_clock::now() - begin_).count();
    if (peers_.empty()) seconds_.back() += seconds;
    for (const int peer : peers_)
      seconds_[static_cast<std::size_t>(peer)] += seconds / static_cast<double>(peers_.size());
  }
  const std::vector<double>& seconds() const { return seconds_; }

 private:
  bool on_ = false;
  std::vector<double> seconds_;
  std::vector<int> peers_;  // of the wait in hand; none: collective
  std::chrono::steady_clock::time_point begin_;
};

WaitCounter g_counter;

// A wait shorter than kQuiet needs no looking around; longer ones do it every kLook.
constexpr std::chrono::milliseconds kQuiet{200}, kLook{50};

}  // namespace

PatientWaits::PatientWaits() { g_patient = true; }
PatientWaits::~PatientWaits() { g_patient = false; }

void count_waits() { g_counter.start(); }
const std::vector<double>& counted_waits_s() { return g_counter.seconds(); }

Deadline::Deadline(const Wait& wait) : last_look_(Clock::now()), next_look_(last_look_ + kQuiet), patient_(g_patient) {
  set_waiting(&wait, &waited_s_);
  g_counter.begin(wait);
}

Deadline::~Deadline() {
  g_counter.end();
  set_waiting(nullptr, nullptr);
}

void Deadline::look(Clock::time_point now) {
  constexpr double kMostBetweenLooks_s = 1;  // beyond it this process itself was stopped
  waited_s_ += std::min(Seconds(now - last_look_).count(), kMostBetweenLooks_s);
  last_look_ = now;
  next_look_ = now + kLook;
  if (waited_s_ > wait_timeout_s() || somebody_asks()) diagnose();
}

void Deadline::rest() { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }

void wait_for(MPI_Request& request, const Wait& wait) {
  wait_until(wait, [&] {
    int done = 0;
    MOESAIC_MPI(MPI_Test(&request, &done, MPI_STATUS_IGNORE));
    return done != 0;
  });
}

}  // namespace moesaic::comm
