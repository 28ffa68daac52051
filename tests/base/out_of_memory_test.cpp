#include "base/out_of_memory.hpp"

#include <gmock/gmock.h>
#include <sys/resource.h>

#include <vector>

#include "base/aligned_buffer.hpp"
#include "base/parallel.hpp"

namespace moesaic {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;

/// A soft limit of this process, until the end of a test.
class SoftLimit {
 public:
  SoftLimit(decltype(RLIMIT_AS) resource, std::int64_t bytes) : resource_(resource) {
    getrlimit(resource_, &before_);
    rlimit limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(bytes);
    setrlimit(resource_, &limit);
  }
  ~SoftLimit() { setrlimit(resource_, &before_); }
  SoftLimit(const SoftLimit&) = delete;
  SoftLimit& operator=(const SoftLimit&) = delete;

 private:
  decltype(RLIMIT_AS) resource_;
  rlimit before_{};
};

constexpr std::size_t kNobodyHas_bytes = std::size_t{1} << 46;

template <class Work>
std::string message_of(Work&& work) {
  try {
    work();
  } catch (const std::bad_alloc& error) {
    return error.what();
  }
  return "it was had";
}

TEST(OutOfMemory, SaysHowMuchAndWhatFor) {
  const auto buffer = [] { AlignedBuffer memory(kNobodyHas_bytes); };
  EXPECT_THAT(message_of(buffer), EndsWith("67108864.0 MiB could not be had"));
  const MemoryPurpose outer("the outer thing");
  {
    const MemoryPurpose inner("the inner thing; a lower --option takes less");
    EXPECT_THAT(message_of(buffer), EndsWith("could not be had for the inner thing; a lower --option takes less"));
    EXPECT_THAT(message_of([&] { parallel_for(4, [&](std::int64_t) { buffer(); }); }), HasSubstr("the inner thing"));
  }
  EXPECT_THAT(message_of(buffer), EndsWith("for the outer thing"));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(OutOfMemory, ContainersSayItToo) {
  const MemoryPurpose purpose("a list");
  EXPECT_THAT(message_of([] { std::vector<char> list(kNobodyHas_bytes); }),
              HasSubstr("67108864.0 MiB could not be had for a list"));
}

TEST(OutOfMemory, NamesTheLimitThatItMet) {
  const SoftLimit limit(RLIMIT_AS, std::int64_t{4} << 30);
  const auto found = tightest_process_limit();
  ASSERT_TRUE(found);
  EXPECT_STREQ(found->option, "ulimit -v");
  EXPECT_EQ(found->limit_bytes, std::int64_t{4} << 30);
  EXPECT_GT(found->used_bytes, 1 << 20);
  EXPECT_EQ(found->left_bytes(), found->limit_bytes - found->used_bytes);
  EXPECT_THAT(message_of([] { AlignedBuffer memory(std::size_t{5} << 30); }),
              AllOf(HasSubstr("5120.0 MiB could not be had"), HasSubstr("the limit of ulimit -v is 4096 MiB")));
}

TEST(OutOfMemory, TheTightestLimitIsTold) {
  const SoftLimit all(RLIMIT_AS, std::int64_t{4} << 30), data(RLIMIT_DATA, std::int64_t{1} << 30);
  const auto found = tightest_process_limit();
  ASSERT_TRUE(found);
  EXPECT_STREQ(found->option, "ulimit -d");
}
#endif

}  // namespace
}  // namespace moesaic
