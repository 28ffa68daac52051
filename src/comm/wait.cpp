#include "comm/wait.hpp"

#include <cstdio>
#include <cstdlib>

#include "base/trace.hpp"

namespace moesaic::comm {
namespace {

std::chrono::duration<double> g_timeout = std::chrono::hours(24 * 365);

[[noreturn]] void expired(const Wait& wait, double seconds) {
  const Position& at = position();
  const Zone zone = at.zone;
  std::string peers;
  if (wait.peers)
    for (const int peer : *wait.peers) peers += fmt::format("{}{}", peers.empty() ? "" : ", ", peer);
  fmt::print(stderr, "moesaic: rank {}: step {}, layer {}, {}: waited {:.1f} s for {} of rank {}\n",
             Communicator::world().rank(), at.step.load(), at.layer.load(), zone == Zone::kCount ? "-" : name(zone),
             seconds, wait.operation, peers.empty() ? "any" : peers);
  std::fflush(stderr);
  MPI_Abort(MPI_COMM_WORLD, 1);
  std::abort();
}

}  // namespace

void set_wait_timeout(std::chrono::duration<double> timeout) { g_timeout = timeout; }

Deadline::Deadline(const Wait& wait) : wait_(wait), start_(Clock::now()) {}
Deadline::~Deadline() = default;

void Deadline::check() {
  const std::chrono::duration<double> waited = Clock::now() - start_;
  if (waited > g_timeout) expired(wait_, waited.count());
}

void wait_for(MPI_Request& request, const Wait& wait) {
  wait_until(wait, [&] {
    int done = 0;
    MOESAIC_MPI(MPI_Test(&request, &done, MPI_STATUS_IGNORE));
    return done != 0;
  });
}

}  // namespace moesaic::comm
