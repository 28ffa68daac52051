#pragma once

#include <string>
#include <vector>

#include "comm/mpi.hpp"
#include "plan/machine_model.hpp"
#include "start/threads.hpp"

/// Measuring what the cost model needs to know of a machine.
namespace moesaic::measure {

struct CalibrationOptions {
  std::string isa = "auto";  ///< as --isa says it
  std::vector<std::int64_t> thread_counts;
  std::vector<Numerics> numerics;  ///< whose kernels are measured; the others follow from the limits
  host::Bind bind = host::Bind::kAuto;
  bool short_run = false;  ///< for tests: a few calls on little memory
};

/// Collective: all ranks measure at the same time, so that what they share counts; every rank gets the same machine.
/// Kernels that are measured are those of no model: D = F/8 = 2048.
plan::Machine calibrate(const comm::Communicator& world, const CalibrationOptions& options);

}  // namespace moesaic::measure
