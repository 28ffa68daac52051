#include "io/temporary_file.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include "expect_error.hpp"
#include "io/partial_files.hpp"
#include "temporary_folder.hpp"

namespace moesaic::io {
namespace {

using test::read_file;
using test::write_file;
using testing::HasSubstr;
using testing::StartsWith;

struct TemporaryFiles : testing::Test {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("out.jsonl");
};

TEST_F(TemporaryFiles, GetTheirNameWhenTheyAreWhole) {
  write_file(path, "before");
  {
    TemporaryFile file(path);
    file.append("a\n");
    file.append("b\n");
    EXPECT_EQ(read_file(path), "before");
    EXPECT_EQ(read_file(file.temporary_path()), "a\nb\n");
    file.publish();
  }
  EXPECT_EQ(read_file(path), "a\nb\n");
  EXPECT_TRUE(partial_files_of(path).empty());
}

TEST_F(TemporaryFiles, AreRemovedUnlessPublished) {
  for (int i = 0; i < 20; ++i) TemporaryFile(path).append("half");
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  EXPECT_ERROR(TemporaryFile(folder.file("absent/x")), "cannot be created: No such file");
}

/// In a container every run may have the same process number.
TEST_F(TemporaryFiles, OfKilledRunsBlockNobody) {
  const std::string left = fmt::format("{}.partial-{}", path, ::getpid());
  write_file(left, "half");
  TemporaryFile one(path), other(path);
  EXPECT_NE(one.temporary_path(), other.temporary_path());
  one.append("1");
  other.append("2");
  one.publish();
  other.publish();
  EXPECT_EQ(read_file(path), "2");
  EXPECT_EQ(read_file(left), "half");
}

TEST_F(TemporaryFiles, OfKilledRunsAreToldFromLivingOnes) {
  const std::string left = path + ".partial-01234567";
  write_file(left, std::string(1500, 'x'));
  const timespec three_days_ago[2] = {{::time(nullptr) - 3 * 24 * 3600 - 60, 0},
                                      {::time(nullptr) - 3 * 24 * 3600 - 60, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, left.c_str(), three_days_ago, 0), 0);
  write_file(folder.file("other.jsonl.partial-01234567"), "");
  write_file(path + ".journal", "");
  TemporaryFile living(path);
  if (living.lock() == File::Lock::kUnsupported) GTEST_SKIP() << "the file system has no locks";
  const auto files = partial_files_of(path);
  ASSERT_EQ(files.size(), 2u);
  for (const PartialFile& file : files) {
    if (file.path == left)
      EXPECT_EQ(describe(file, path), left +
                                          ": 1.50 kB, last written 3 days ago: left by a run that was killed, since no "
                                          "process holds its lock; remove it");
    else
      EXPECT_THAT(describe(file, path), HasSubstr(" ago: another run is writing " + path + ";"));
  }
}

TEST_F(TemporaryFiles, WithoutLocksNothingIsClaimed) {
  EXPECT_THAT(
      describe({"x.partial-1", 317'000'000'000, std::chrono::hours(5), File::Lock::kUnsupported}, "x"),
      StartsWith("x.partial-1: 317.00 GB, last written 5 hours ago: left by a run that was killed, or written at this "
                 "moment"));
}

/// A full disk, as `ulimit -f` imitates it.
TEST_F(TemporaryFiles, NameTheFileWhenTheDiskIsFull) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{4096, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  std::string message;
  {
    TemporaryFile file(path);
    file.append(std::string(3000, 'x'));
    message = test::error_of([&] { file.append(std::string(3000, 'x')); });
  }
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_THAT(message, StartsWith(path + ".partial-"));
  EXPECT_THAT(message, HasSubstr("file size limit exceeded"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

/// Signals that stop a run keep doing so; those that would end the process remove the file first.
TEST_F(TemporaryFiles, LeaveSignalsToWhoeverHandlesThem) {
  const auto mine = [](int) {};
  std::signal(SIGINT, mine);
  EXPECT_EXIT(
      {
        const TemporaryFile file(path);
        if (std::signal(SIGINT, SIG_DFL) != static_cast<void (*)(int)>(mine)) ::_exit(1);
        std::raise(SIGTERM);
      },
      testing::KilledBySignal(SIGTERM), "");
  std::signal(SIGINT, SIG_DFL);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(TemporaryFile, NamesThatAreTooLongAreAnError) {
  const test::TemporaryFolder folder;
  for (const std::size_t size : {239, 255, 300})
    EXPECT_ERROR(TemporaryFile(folder.file(std::string(size, 'n'))), "nnn");
  EXPECT_ERROR(TemporaryFile(folder.file("missing/result")), "missing/result");
}

TEST(TemporaryFile, ALinkStaysOne) {
  const test::TemporaryFolder folder;
  std::filesystem::create_directory(folder.file("scratch"));
  for (const char* text : {"first", "second"}) {  // the file that the link names is not there at first
    std::filesystem::remove(folder.file("link"));
    std::filesystem::create_symlink("scratch/result", folder.file("link"));
    TemporaryFile file(folder.file("link"));
    EXPECT_EQ(std::filesystem::path(file.temporary_path()).parent_path(), folder.file("scratch"));
    file.append(text);
    file.publish();
    EXPECT_TRUE(std::filesystem::is_symlink(folder.file("link")));
    EXPECT_EQ(test::read_file(folder.file("scratch/result")), text);
  }
}

}  // namespace
}  // namespace moesaic::io
