#pragma once

#include "ops/peak.hpp"

namespace moesaic::cpu {

/// The loops of a path, whether or not this processor can run them; ops::peak_loops() checks that.
extern const ops::PeakLoops kPortablePeak, kAvx2Peak, kAvx512Peak;

}  // namespace moesaic::cpu
