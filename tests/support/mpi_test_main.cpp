#include <gtest/gtest.h>

#include <cstdio>

#include "base/denormals.hpp"
#include "comm/session.hpp"

namespace {

/// Rank 0 prints everything, the others only what failed.
class FailuresOnly : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "[rank %d] %s:%d: %s\n", moesaic::comm::Communicator::world().rank(), result.file_name(),
                 result.line_number(), result.message());
  }
};

}  // namespace

int main(int argc, char** argv) {
  moesaic::flush_denormals();
  const moesaic::comm::Session session(argc, argv);
  testing::InitGoogleTest(&argc, argv);
  const auto world = moesaic::comm::Communicator::world();
  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  if (world.rank() != 0) {
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailuresOnly);
  }
  const int failed = RUN_ALL_TESTS();
  return world.max(failed) > 0 ? 1 : 0;  // a failure of any rank is everybody's
}
