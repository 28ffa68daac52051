#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// Which processor each thread of a rank is bound to. Pure: the machine and the node's ranks are arguments.
namespace moesaic::host {

/// A hardware thread.
struct Processor {
  int number = 0;  ///< its number in the system, as taskset has it
  int core = 0;
  int domain = 0;  ///< the NUMA domain
  friend bool operator==(const Processor&, const Processor&) = default;
};

/// A set of processors; bit n is the processor with number n.
using ProcessorSet = std::bitset<4096>;

/// Processors that a control group may use on average, however many there are.
struct CpuQuota {
  double processors = 0;    ///< how many, also a fraction; 0: no quota
  std::uint64_t group = 0;  ///< the control group: ranks of one share its quota
};

/// A rank as the others of its node need to know it.
struct NodeRank {
  ProcessorSet mask;  ///< what it may use: its launcher's choice, or the whole node
  int num_threads = 1;
  CpuQuota quota = {};
};

enum class Bind : std::uint8_t { kAuto, kNone, kCores };
inline constexpr std::string_view kBindOptions = "auto, none or cores";
std::optional<Bind> bind_from(std::string_view word);

struct Placement {
  std::vector<Processor> threads;  ///< the processor of each thread; empty: not bound
  std::string reason;              ///< why the threads are not bound
  bool processor_each = false;     ///< whether every thread that shares the rank's mask can run at once
  /// Processors of `threads` that another thread, of this rank or another one, is bound to as well.
  std::vector<Processor> shared;
};

/// How many of the ranks have the mask of rank `me`.
int num_with_mask(std::span<const NodeRank> ranks, std::size_t me);

/// What rank `me` should be told when the ranks that have but its processors, or some of them, want more threads than
/// these are; else empty. E.g. "8 threads of 2 ranks on 4 processors; give fewer --threads or ranks".
std::string crowding(std::span<const Processor> machine, std::span<const NodeRank> ranks, std::size_t me);

/// What rank `me` has of its CPU quota when the ranks under it share it out, in processors; 0: it has none.
double quota_share(std::span<const NodeRank> ranks, std::size_t me);

/// What rank `me` should be told when the ranks under its CPU quota want more threads than that has processors; else
/// empty.
std::string quota_crowding(std::span<const NodeRank> ranks, std::size_t me);

/// The placement of rank `me` of a node. Ranks with the same mask share it out evenly, side by side in the order of the
/// machine, so that a rank's threads are in one NUMA domain where they can be; each thread has a core to itself while
/// there are enough. kAuto binds inside a mask that a launcher has set, and on a whole node when the ranks' threads
/// fill its cores or processors exactly; else another job may be meant to have the rest. Where masks overlap without
/// being the same, kAuto binds none, and kCores gives as many threads as it can a processor that no other has, the
/// first of a core before the others. machine: the processors that the job may use of the node, those of a core side by
/// side, those of a domain too. Error: kCores with more threads than processors in a mask.
Placement place(std::span<const Processor> machine, std::span<const NodeRank> ranks, std::size_t me, Bind bind);

/// The placements of a node's ranks in words, e.g. "4 threads a rank bound to processors 0-3 | 4-7 (NUMA 0 | 1)".
std::string describe(std::span<const Placement> ranks);

/// "0-3,8" for numbers in any order.
std::string ranges(std::vector<int> numbers);

}  // namespace moesaic::host
