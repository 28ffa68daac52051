#include <cfloat>
#include <string>

#include "base/error.hpp"
#include "definition.hpp"

namespace moesaic::ops::test {
namespace {

TEST(IsaOption, AutoIsSupported) {
  EXPECT_TRUE(supported(Isa::kPortable));
  EXPECT_TRUE(supported(isa_from_option("auto")));
  EXPECT_EQ(isa_from_option("portable"), Isa::kPortable);
}

TEST(IsaOption, UnknownNamesAreRefusedWithTheChoices) {
  try {
    isa_from_option("neon");
    FAIL() << "neon was taken";
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("--isa neon"), std::string::npos) << message;
    EXPECT_NE(message.find("portable"), std::string::npos) << message;
  }
}

TEST(IsaOption, UnsupportedPathsAreRefused) {
  for (const Isa isa : {Isa::kAvx2, Isa::kAvx512}) {
    if (supported(isa)) continue;
    EXPECT_THROW(isa_from_option(std::string(name(isa))), Error);
    EXPECT_THROW(kernels(isa, Numerics::kW8A16), Error);
    EXPECT_THROW(kernels(isa, Numerics::kW8A8), Error);
  }
}

volatile float smallest = FLT_MIN, subnormal = 1e-40f;  // beyond the reach of constant folding

TEST(FlushDenormals, HoldsInAllThreads) {
  flush_denormals();
  int flushed = 0;
#pragma omp parallel num_threads(3) reduction(+ : flushed)
  {
    const float halved = smallest * 0.5f, scaled = subnormal * 1e10f;
    flushed += halved == 0.0f && scaled == 0.0f ? 1 : 0;
  }
  EXPECT_EQ(flushed, 3);
}

}  // namespace
}  // namespace moesaic::ops::test
