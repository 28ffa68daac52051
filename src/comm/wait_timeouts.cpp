#include "comm/wait_timeouts.hpp"

namespace moesaic::comm {
namespace {

/// One for the process, as signal handlers read it.
struct {
  WaitTimeouts timeouts;
  bool running = false;
} g_waits;

}  // namespace

void set_wait_timeouts(const WaitTimeouts& timeouts) { g_waits.timeouts = timeouts; }
double wait_timeout_s() { return g_waits.running ? g_waits.timeouts.running_s : g_waits.timeouts.loading_s; }

void RunningWaits::begin() { g_waits.running = true; }
RunningWaits::~RunningWaits() { g_waits.running = false; }

}  // namespace moesaic::comm
