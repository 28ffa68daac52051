#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "host/placement.hpp"

/// The processors of this machine, and this process's threads and memory on them; by hwloc.
namespace moesaic::host {

/// The processors that the control group of this process allows, in the order of the machine.
const std::vector<Processor>& processors();

/// The affinity mask that this process was started with: what the first call here or of processors() has found.
const ProcessorSet& initial_mask();

/// Makes a placement this process's own, for bind_thread() and spread_over_domains(), with nothing refused so far. Not
/// while other threads use them.
void use(Placement placement);

/// How often since use() the system has not done what was asked of it.
struct Refused {
  int threads = 0;  ///< threads that could not be bound to the processor that a placement has for them
  int areas = 0;    ///< areas of memory that could not be spread
};
Refused refused();

/// Binds the calling thread to the processor of thread number `thread`. Without a processor for it, it gets the mask
/// that the process was started with, since a thread inherits the mask of the one that made it. Whether the system did
/// it.
bool bind_thread(int thread);

/// Spreads memory that nobody has touched over the NUMA domains of this process's threads, when they have several; else
/// the thread that touches a page first has it in its own domain. Advice only.
void spread_over_domains(std::span<std::byte> memory);

/// Whether the system gives out huge pages: always, madvise (which is enough), or never, with what to do.
std::string huge_pages();

}  // namespace moesaic::host
