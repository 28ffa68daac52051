#include <gtest/gtest.h>

#include <csignal>
#include <numeric>
#include <stdexcept>

#include "backend/backend.hpp"

/// The deferred backend finds what it is there to find: reads and writes of the host that come too early.
namespace moesaic::backend {
namespace {

constexpr std::int64_t kElems = 1000;

class DeferredTest : public testing::Test {
 protected:
  DeferredTest() : backend(open({"deferred", "portable"}, Numerics::kF32)), queue(backend->make_queue()) {
    x = Buffer(*backend, Space::kPinned, kElems * sizeof(float));
    std::iota(x.host<float>(), x.host<float>() + kElems, 0.0f);
  }
  void doubled() { backend->kernels().scale(*queue, 2, kElems, x.as<float>()); }

  std::shared_ptr<Backend> backend;
  std::unique_ptr<Queue> queue;
  Buffer x;
};

TEST_F(DeferredTest, KernelsHaveRunAfterAWait) {
  doubled();
  doubled();
  queue->wait();
  for (std::int64_t i = 0; i < kElems; ++i) ASSERT_EQ(x.host<float>()[i], 4 * static_cast<float>(i));
}

TEST_F(DeferredTest, AnEarlyReadCrashes) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        doubled();
        std::exit(x.host<volatile float>()[5] == 10.0f ? 0 : 1);
      },
      testing::KilledBySignal(SIGSEGV), "");
}

TEST_F(DeferredTest, AnEarlyWriteCrashes) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        doubled();
        x.host<volatile float>()[5] = 1;
        std::exit(0);
      },
      testing::KilledBySignal(SIGSEGV), "");
}

/// A wait for an earlier event gives back what later kernels have not got.
TEST_F(DeferredTest, AnEventIsAPointInTheQueue) {
  Buffer y(*backend, Space::kPinned, sizeof(float));
  *y.host<float>() = 3;
  backend->kernels().scale(*queue, 5, 1, y.as<float>());
  const Event first = queue->record();
  doubled();
  queue->wait(first);
  EXPECT_EQ(*y.host<float>(), 15);
  queue->wait();
  EXPECT_EQ(x.host<float>()[1], 2);
}

TEST_F(DeferredTest, DeviceMemoryIsOutOfTheHostsReach) {
  const Buffer device(*backend, Space::kDevice, 64);
  EXPECT_THROW(device.host(), std::logic_error);
  EXPECT_EQ(device.slice().host, nullptr);
}

/// Arguments are the host's again as soon as the kernel has been launched, and a buffer that grows leaves its old bytes
/// to kernels that have them.
TEST_F(DeferredTest, ArgumentsAndOldBytesAreKept) {
  Buffer device(*backend, Space::kDevice, kElems * sizeof(float)), out(*backend, Space::kPinned, sizeof(float));
  std::vector<std::int32_t> index{7};
  queue->copy(device.data(), x.data(), kElems * sizeof(float));
  backend->kernels().gather_rows(*queue, device.data(), queue->argument(std::span(index)), 1, sizeof(float),
                                 out.data());
  index[0] = -1;
  device.reserve(1 << 20);
  queue->wait();
  EXPECT_EQ(*out.host<float>(), 7);
}

TEST_F(DeferredTest, AFailedKernelThrowsAtTheWait) {
  const Matrix int8{{DType::kInt4x2, 1, 64, 32}, {}};
  const auto quantised = open({"deferred", "portable"}, Numerics::kW8A8);  // has no int4 matrices
  const auto other = quantised->make_queue();
  quantised->kernels().gemm(*other, x.data(), 1, int8, x.as<float>(), 32);
  EXPECT_THROW(other->wait(), std::logic_error);
  EXPECT_NO_THROW(other->wait());
}

}  // namespace
}  // namespace moesaic::backend
