#include "host/stop_signals.hpp"

#include <csignal>

#include "base/error.hpp"

namespace moesaic::host {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGUSR1};
volatile std::sig_atomic_t g_received = 0;

}  // namespace

StopSignals::StopSignals(int first) : first_(first) {
  for (int i = first_; i < 3; ++i) before_[i] = std::signal(kSignals[i], [](int signal) { g_received = signal; });
}

StopSignals::~StopSignals() {
  for (int i = first_; i < 3; ++i) std::signal(kSignals[i], ignores_ ? SIG_IGN : before_[i]);
  g_received = 0;
}

int StopSignals::received() { return g_received; }
void StopSignals::clear() { g_received = 0; }

void StopSignals::check() {
  if (const int signal = received()) fail("stopped by signal {}; nothing was left under the store's name", signal);
}

}  // namespace moesaic::host
