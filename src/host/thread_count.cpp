#include "host/thread_count.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "base/error.hpp"
#include "host/binding.hpp"
#include "host/control_groups.hpp"

namespace moesaic::host {
namespace {

/// The number that a variable begins with (OMP_NUM_THREADS may be a list); 0: it is not set, or empty.
int positive_number(const char* variable) {
  constexpr int kMost = 4096;
  const char* text = std::getenv(variable);
  if (!text) return 0;
  int value = 0;
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), value);
  if (*text == '\0') return 0;
  if (error != std::errc() || (*end != '\0' && *end != ',') || value < 1 || value > kMost)
    fail("{} is '{}', expected 1 to {} threads; set it, or give --threads", variable, text, kMost);
  return value;
}

}  // namespace

int allowed_processors() { return static_cast<int>(initial_mask().count()); }

int threads_per_rank(int asked, int ranks_with_mask, double quota_share) {
  if (asked > 0) return asked;
  if (const int threads = positive_number("OMP_NUM_THREADS")) return threads;
  if (const int threads = positive_number("SLURM_CPUS_PER_TASK")) return threads;
  const int processors = allowed_processors() / ranks_with_mask;
  return std::max(1, quota_share > 0 ? std::min(processors, static_cast<int>(quota_share)) : processors);
}

int threads_alone() { return threads_per_rank(0, 1, ControlGroups().cpu_quota().processors); }

}  // namespace moesaic::host
