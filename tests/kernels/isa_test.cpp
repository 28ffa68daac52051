#include <atomic>
#include <cfloat>
#include <string>

#include "base/error.hpp"
#include "definition.hpp"

namespace moesaic::cpu::test {
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
    EXPECT_THROW(open_cpu(isa, Numerics::kW8A16), Error);
    EXPECT_THROW(open_cpu(isa, Numerics::kW8A8), Error);
  }
}

volatile float smallest = FLT_MIN, subnormal = 1e-40f;  // beyond the reach of constant folding

TEST(FlushDenormals, HoldsInAllThreads) {
  constexpr int kThreads = 3;
  const auto flushes = [] { return smallest * 0.5f == 0.0f && subnormal * 1e10f == 0.0f; };
  flush_denormals();
  EXPECT_TRUE(flushes());
  std::atomic<int> flushing = 0;
  const auto start = [&](int) {
    flush_denormals();
    flushing += flushes() ? 1 : 0;
  };
  make_team({.num_threads = kThreads, .spin = false, .at_start = start});
  make_team({});  // all have started when they are gone
  EXPECT_EQ(flushing, kThreads - 1);
}

}  // namespace
}  // namespace moesaic::cpu::test
