#include "host/binding.hpp"

#include <hwloc.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <memory>
#include <set>
#include <utility>

#include "base/error.hpp"

namespace moesaic::host {
namespace {

using Bitmap = std::unique_ptr<hwloc_bitmap_s, decltype(&hwloc_bitmap_free)>;

Bitmap empty_bitmap() { return {hwloc_bitmap_alloc(), hwloc_bitmap_free}; }

class Machine {
 public:
  Machine() {
    if (hwloc_topology_init(&topology_) != 0) fail("hwloc cannot be initialised");
    hwloc_topology_set_all_types_filter(topology_, HWLOC_TYPE_FILTER_KEEP_NONE);
    hwloc_topology_set_type_filter(topology_, HWLOC_OBJ_CORE, HWLOC_TYPE_FILTER_KEEP_ALL);
    if (hwloc_topology_load(topology_) != 0) fail("hwloc cannot read this machine's topology");
    for (hwloc_obj_t unit = nullptr; (unit = hwloc_get_next_obj_by_type(topology_, HWLOC_OBJ_PU, unit));) {
      if (unit->os_index >= initial_mask.size()) continue;
      const hwloc_obj_t core = hwloc_get_ancestor_obj_by_type(topology_, HWLOC_OBJ_CORE, unit);
      processors.push_back({static_cast<int>(unit->os_index),
                            static_cast<int>(core ? core->logical_index : unit->logical_index),
                            std::max(0, hwloc_bitmap_first(unit->nodeset))});
    }
    const Bitmap mask = empty_bitmap();
    if (hwloc_get_cpubind(topology_, mask.get(), HWLOC_CPUBIND_THREAD) != 0) hwloc_bitmap_fill(mask.get());
    for (const Processor& processor : processors)
      if (hwloc_bitmap_isset(mask.get(), static_cast<unsigned>(processor.number)))
        initial_mask.set(static_cast<std::size_t>(processor.number));
  }
  ~Machine() { hwloc_topology_destroy(topology_); }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  bool bind_this_thread(const ProcessorSet& allowed) const {
    const Bitmap mask = empty_bitmap();
    for (const Processor& processor : processors)
      if (allowed.test(static_cast<std::size_t>(processor.number)))
        hwloc_bitmap_set(mask.get(), static_cast<unsigned>(processor.number));
    return hwloc_set_cpubind(topology_, mask.get(), HWLOC_CPUBIND_THREAD) == 0;
  }

  bool interleave(std::span<std::byte> memory, const std::set<int>& domains) const {
    const Bitmap nodes = empty_bitmap();
    for (const int domain : domains) hwloc_bitmap_set(nodes.get(), static_cast<unsigned>(domain));
    return hwloc_set_area_membind(topology_, memory.data(), memory.size(), nodes.get(), HWLOC_MEMBIND_INTERLEAVE,
                                  HWLOC_MEMBIND_BYNODESET) == 0;
  }

  std::vector<Processor> processors;
  ProcessorSet initial_mask;

 private:
  hwloc_topology_t topology_ = nullptr;
};

const Machine& machine() {
  static const Machine the_machine;
  return the_machine;
}

Placement& placement_in_use() {
  static Placement placement;
  return placement;
}

std::atomic<int> num_threads_refused = 0, num_areas_refused = 0;

}  // namespace

const std::vector<Processor>& processors() { return machine().processors; }

const ProcessorSet& initial_mask() { return machine().initial_mask; }

void use(Placement placement) {
  placement_in_use() = std::move(placement);
  num_threads_refused = num_areas_refused = 0;
}

Refused refused() { return {num_threads_refused, num_areas_refused}; }

bool bind_thread(int thread) {
  const auto& threads = placement_in_use().threads;
  if (thread >= std::ssize(threads)) return machine().bind_this_thread(initial_mask());
  ProcessorSet one;
  one.set(static_cast<std::size_t>(threads[static_cast<std::size_t>(thread)].number));
  const bool done = machine().bind_this_thread(one);
  num_threads_refused += done ? 0 : 1;
  return done;
}

void spread_over_domains(std::span<std::byte> memory) {
  std::set<int> domains;
  for (const Processor& processor : placement_in_use().threads) domains.insert(processor.domain);
  if (domains.size() > 1 && !machine().interleave(memory, domains)) ++num_areas_refused;
}

std::string huge_pages() {
  constexpr auto kSetting = "/sys/kernel/mm/transparent_hugepage/enabled";
  std::ifstream file(kSetting);
  for (std::string word; file >> word;)  // "always [madvise] never"
    if (word.front() == '[') {
      word = word.substr(1, word.size() - 2);
      return word == "never" ? fmt::format("never (slower; as root: echo madvise > {})", kSetting) : word;
    }
  return "unknown";
}

}  // namespace moesaic::host
