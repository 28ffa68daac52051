#include "peak_tables.hpp"

#include "base/error.hpp"

namespace moesaic::cpu {

const PeakLoops& peak_loops(Isa isa) {
  if (!supported(isa)) fail("instruction path {} does not run on this processor", name(isa));
  switch (isa) {
    case Isa::kPortable:
      return kPortablePeak;
    case Isa::kAvx2:
      return kAvx2Peak;
    case Isa::kAvx512:
      return kAvx512Peak;
  }
  fail("unknown instruction path");
}

}  // namespace moesaic::cpu
