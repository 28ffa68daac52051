#include "ops/peak.hpp"

#include "base/error.hpp"
#include "cpu/peak_tables.hpp"
#include "ops/kernels.hpp"

namespace moesaic::ops {

const PeakLoops& peak_loops(Isa isa) {
  if (!supported(isa)) fail("instruction path {} does not run on this processor", name(isa));
  switch (isa) {
    case Isa::kPortable:
      return cpu::kPortablePeak;
    case Isa::kAvx2:
      return cpu::kAvx2Peak;
    case Isa::kAvx512:
      return cpu::kAvx512Peak;
  }
  fail("unknown instruction path");
}

}  // namespace moesaic::ops
