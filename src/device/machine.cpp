#include "device/machine.hpp"

#include <hwloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>
#include <optional>

#include "base/error.hpp"

namespace moesaic::device {
namespace {

struct Processors {
  int allowed = 1;  ///< in this process's mask
  int all = 1;      ///< of the machine
};

Processors count_processors() {
  hwloc_topology_t topology = nullptr;
  if (hwloc_topology_init(&topology) != 0) fail("hwloc cannot be initialised");
  const std::unique_ptr<hwloc_topology, decltype(&hwloc_topology_destroy)> guard(topology, hwloc_topology_destroy);
  hwloc_topology_set_all_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE);
  if (hwloc_topology_load(topology) != 0) fail("hwloc cannot read this machine's topology");
  const std::unique_ptr<hwloc_bitmap_s, decltype(&hwloc_bitmap_free)> mask(hwloc_bitmap_alloc(), hwloc_bitmap_free);
  Processors processors;
  processors.all = std::max(1, hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_PU));
  processors.allowed = processors.all;
  if (hwloc_get_cpubind(topology, mask.get(), HWLOC_CPUBIND_PROCESS) == 0)
    processors.allowed = std::clamp(hwloc_bitmap_weight(mask.get()), 1, processors.all);
  return processors;
}

const Processors& processors() {
  static const Processors counted = count_processors();
  return counted;
}

std::optional<std::int64_t> number_in(const char* file) {
  std::ifstream stream(file);
  std::int64_t value = 0;
  if (stream >> value) return value;
  return std::nullopt;
}

int positive_number(const char* variable) {
  const char* text = std::getenv(variable);
  if (!text) return 0;
  int value = 0;
  std::from_chars(text, text + std::strlen(text), value);
  return std::max(value, 0);
}

}  // namespace

std::string host_name() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

int allowed_processors() { return processors().allowed; }

std::int64_t available_memory_bytes() {
  std::int64_t available = std::numeric_limits<std::int64_t>::max();
  std::ifstream meminfo("/proc/meminfo");
  for (std::string key, unit; meminfo >> key;) {
    std::int64_t kib = 0;
    if (key == "MemAvailable:" && meminfo >> kib) available = kib * 1024;
    std::getline(meminfo, unit);
  }
  const auto limit = number_in("/sys/fs/cgroup/memory.max"), used = number_in("/sys/fs/cgroup/memory.current");
  if (limit && used) available = std::min(available, *limit - *used);
  return available;
}

std::int64_t peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

int threads_per_rank(int asked, int ranks_on_node) {
  if (asked > 0) return asked;
  if (const int threads = positive_number("OMP_NUM_THREADS")) return threads;
  if (const int threads = positive_number("SLURM_CPUS_PER_TASK")) return threads;
  const auto& [allowed, all] = processors();
  return allowed < all ? allowed : std::max(1, all / ranks_on_node);
}

}  // namespace moesaic::device
