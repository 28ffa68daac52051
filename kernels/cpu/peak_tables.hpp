#pragma once

#include "isa.hpp"
#include "peak.hpp"

namespace moesaic::cpu {

/// The loops of a path, whether or not this processor can run them; peak_loops() checks that.
extern const PeakLoops kPortablePeak, kAvx2Peak, kAvx512Peak;

/// The loops of a path; throws Error when the processor does not support it.
const PeakLoops& peak_loops(Isa isa);

}  // namespace moesaic::cpu
