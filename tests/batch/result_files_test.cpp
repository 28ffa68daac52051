#include "batch/result_files.hpp"

#include <sys/mount.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <optional>

#include "../io/expect_error.hpp"
#include "batch_case.hpp"

namespace moesaic::batch {
namespace {

namespace fs = std::filesystem;

TEST(ResultFiles, GiveTheResultsInInputOrder) {
  BatchCase batch(300);
  ResultFiles files = batch.start();
  std::mt19937 random(1);
  std::string expected;
  std::int64_t num_put = 0;
  for (const std::int64_t i : batch.shuffled(random)) {
    EXPECT_FALSE(files.finished(i));
    files.put(batch.results[static_cast<std::size_t>(i)]);
    EXPECT_TRUE(files.finished(i));
    EXPECT_EQ(files.num_finished(), ++num_put);
    if (random() % 10) continue;
    files.sync();
    const std::string output = batch.output_content();
    EXPECT_TRUE(batch.expected_output().starts_with(output));
    EXPECT_TRUE(output.empty() || output.ends_with('\n'));
    EXPECT_FALSE(files.finished(files.num_in_output()));
  }
  EXPECT_FALSE(files.complete());
  EXPECT_EQ(files.finish(batch.num_requests()), batch.expected_hash());
  EXPECT_TRUE(files.complete());
  EXPECT_EQ(batch.output_content(), batch.expected_output());
  EXPECT_EQ(files.num_errors(), batch.expected_errors());
}

TEST(ResultFiles, CompleteTwiceChangesNothing) {
  for (const std::int64_t num_requests : {0, 1, 40}) {
    BatchCase batch(num_requests);
    batch.complete();
    const std::string journal = batch.journal_content();
    ResultFiles files = batch.start();
    EXPECT_TRUE(files.complete());
    EXPECT_EQ(files.num_finished(), num_requests);
    EXPECT_EQ(files.num_in_output(), num_requests);
    EXPECT_EQ(files.num_errors(), batch.expected_errors());
    files.sync();
    EXPECT_EQ(files.finish(num_requests), batch.expected_hash());
    EXPECT_EQ(batch.journal_content(), journal);
    EXPECT_EQ(batch.output_content(), batch.expected_output());
  }
}

TEST(ResultFiles, AnOutputAlteredAfterTheEndIsNoticed) {
  BatchCase batch(10);
  batch.complete();
  std::string altered = batch.expected_output();
  altered[7] ^= 1;
  for (const std::string& content : {altered, batch.expected_output() + "\n", std::string()}) {
    test::write_file(batch.output, content);
    EXPECT_ERROR(batch.start(), "it was altered");
    EXPECT_EQ(batch.output_content(), content);
  }
  fs::remove(batch.output);
  EXPECT_ERROR(batch.start(), "is missing");
  EXPECT_FALSE(fs::exists(batch.output));
}

/// A job that is killed again and again, and what a power loss leaves of its files.
class KilledBatch {
 public:
  explicit KilledBatch(std::uint32_t seed)
      : random_(seed), batch_(static_cast<std::int64_t>(random_() % 40), seed), expected_(batch_.expected_output()) {}

  void run() {
    for (int num_starts = 0; num_starts < 6; ++num_starts) {
      std::optional<ResultFiles> files(batch_.start());
      for (const std::int64_t index : safe_) ASSERT_TRUE(files->finished(index)) << index << " was safe";
      note_sync(*files);
      if (num_starts == 5 || random_() % 4 == 0) return end(*files);
      work(*files);
      files.reset();
      lose_power();
    }
  }

 private:
  std::size_t upto(std::size_t end) { return random_() % (end + 1); }
  void note_sync(const ResultFiles& files) {
    // The output may have grown in the sync that the power loss interrupts: what it had before is safe.
    safe_output_bytes_ = output_bytes_;
    output_bytes_ = fs::file_size(batch_.output);
    safe_journal_bytes_ = fs::file_size(batch_.journal);
    safe_.clear();
    for (std::int64_t i = 0; i < batch_.num_requests(); ++i)
      if (files.finished(i)) safe_.push_back(i);
  }
  void work(ResultFiles& files) {
    std::size_t num_left = upto(static_cast<std::size_t>(batch_.num_requests()));
    for (const std::int64_t i : batch_.shuffled(random_)) {
      if (num_left-- == 0) break;
      if (!files.finished(i)) files.put(batch_.results[static_cast<std::size_t>(i)]);
      if (random_() % 6) continue;
      files.sync();
      note_sync(files);
    }
  }
  void lose_power() {
    lose(batch_.journal, safe_journal_bytes_);
    if (random_() % 8 == 0) {
      fs::remove(batch_.output);
      output_bytes_ = 0;
      return;
    }
    lose(batch_.output, safe_output_bytes_);
    output_bytes_ = 0;  // the next start repairs all of it
  }
  void lose(const std::string& path, std::size_t safe_bytes) {
    const std::size_t size_bytes = fs::file_size(path);
    fs::resize_file(path, safe_bytes + upto(size_bytes - safe_bytes));
    if (random_() % 3 == 0) fs::resize_file(path, size_bytes);  // zeros where something was to be
  }
  void end(ResultFiles& files) {
    EXPECT_EQ(batch_.run_to_the_end(files, random_), batch_.expected_hash());
    EXPECT_EQ(files.num_errors(), batch_.expected_errors());
    EXPECT_EQ(batch_.output_content(), expected_);
  }

  std::mt19937 random_;
  BatchCase batch_;
  std::string expected_;
  std::vector<std::int64_t> safe_;
  std::size_t safe_journal_bytes_ = 0, safe_output_bytes_ = 0, output_bytes_ = 0;
};

TEST(ResultFiles, SurviveKillsAndPowerLosses) {
  for (std::uint32_t seed = 0; seed < 1000; ++seed) {
    SCOPED_TRACE(seed);
    KilledBatch(seed).run();
    if (HasFailure()) break;
  }
}

class StoppedBatch : public testing::Test {
 protected:
  void SetUp() override {
    ResultFiles files = batch_.start();
    for (const std::int64_t i : {0, 3, 1, 2, 5, 7}) files.put(batch_.results[static_cast<std::size_t>(i)]);
    files.sync();
    output_ = batch_.output_content();
    ASSERT_EQ(files.num_in_output(), 4);
  }
  void expect_the_end() {
    ResultFiles files = batch_.start();
    EXPECT_EQ(batch_.run_to_the_end(files, random_), batch_.expected_hash());
    EXPECT_EQ(batch_.output_content(), batch_.expected_output());
  }
  void expect_untouched(const std::string& content, const std::string& reason) {
    test::write_file(batch_.output, content);
    const std::string journal = batch_.journal_content();
    const std::string message = test::error_of([&] { batch_.start(); });
    EXPECT_NE(message.find(reason), std::string::npos) << message;
    EXPECT_EQ(batch_.output_content(), content);
    EXPECT_EQ(batch_.journal_content(), journal);
  }

  BatchCase batch_{10};
  std::mt19937 random_{1};
  std::string output_;
};

TEST_F(StoppedBatch, TheOutputIsFilledUpFromAnyLength) {
  const std::string journal = batch_.journal_content();
  for (std::size_t size = 0; size <= output_.size(); ++size) {
    test::write_file(batch_.journal, journal);
    test::write_file(batch_.output, output_.substr(0, size));
    { EXPECT_EQ(batch_.start().num_in_output(), 4); }
    EXPECT_EQ(batch_.output_content(), output_);
  }
  fs::remove(batch_.output);
  { EXPECT_EQ(batch_.start().num_in_output(), 4); }
  EXPECT_EQ(batch_.output_content(), output_);
  expect_the_end();
}

TEST_F(StoppedBatch, AnAlteredOutputIsNotTouched) {
  for (std::size_t at = 0; at < output_.size(); ++at) {
    std::string altered = output_;
    altered[at] ^= 1;
    expect_untouched(altered, fmt::format("from byte {} on: it was altered", at));
  }
  expect_untouched(output_ + "my line\n", fmt::format("from byte {} on: it was altered", output_.size()));
  expect_untouched("another file\n", "from byte 0 on");
  fs::rename(batch_.output, batch_.output + ".mine");
  expect_the_end();
}

TEST_F(StoppedBatch, AnOutputWithoutJournalIsNotTouched) {
  fs::remove(batch_.journal);
  EXPECT_ERROR(batch_.start(), batch_.output + ": exists");
  EXPECT_FALSE(fs::exists(batch_.journal));
  EXPECT_EQ(batch_.output_content(), output_);
}

TEST_F(StoppedBatch, IsOneJobs) {
  {
    ResultFiles files = batch_.start();
    EXPECT_ERROR(batch_.start(), "another job writes this output");
  }
  expect_the_end();
}

TEST_F(StoppedBatch, ALinkStandsForTheFile) {
  const std::string link = batch_.folder.file("link"), dangling = batch_.folder.file("dangling");
  fs::create_symlink("results.jsonl", link);
  {
    ResultFiles files(link, batch_.identity);
    EXPECT_EQ(files.num_finished(), 6);
    EXPECT_ERROR(batch_.start(), "another job");
  }
  fs::create_symlink("elsewhere.jsonl", dangling);
  { ResultFiles files(dangling, batch_.identity); }
  EXPECT_TRUE(fs::exists(batch_.folder.file("elsewhere.jsonl.journal")));
  EXPECT_TRUE(fs::is_symlink(dangling));
  expect_the_end();
}

TEST_F(StoppedBatch, AnOutputRemovedOrReplacedWhileRunningIsNoticed) {
  for (const bool replaced : {false, true}) {
    {
      ResultFiles files = batch_.start();
      fs::remove(batch_.output);
      if (replaced) test::write_file(batch_.output, "mine\n");
      if (!files.finished(4)) files.put(batch_.results[4]);
      EXPECT_ERROR(files.sync(), batch_.output + ": was removed or replaced");
      EXPECT_EQ(fs::exists(batch_.output), replaced);
    }
    if (!replaced) continue;
    EXPECT_ERROR(batch_.start(), "it was altered");
    EXPECT_EQ(batch_.output_content(), "mine\n");
    fs::remove(batch_.output);
  }
  EXPECT_TRUE(batch_.start().finished(4));
  expect_the_end();
}

TEST_F(StoppedBatch, AJournalRemovedOrReplacedWhileRunningIsSaved) {
  {
    ResultFiles files = batch_.start();
    files.put(batch_.results[4]);
    fs::remove(batch_.journal);
    EXPECT_ERROR(files.sync(), batch_.journal + ": was removed");
    EXPECT_ERROR(files.put(batch_.results[6]), "was removed");
  }
  {
    ResultFiles files = batch_.start();
    EXPECT_TRUE(files.finished(4));
    files.put(batch_.results[6]);
    test::write_file(batch_.journal, "mine");
    EXPECT_ERROR(files.sync(), "put it back");
  }
  EXPECT_ERROR(batch_.start(), "is no journal");
  fs::rename(batch_.journal + ".saved", batch_.journal);
  EXPECT_TRUE(batch_.start().finished(6));
  expect_the_end();
}

/// A file size limit stands for a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(std::uint64_t size_bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit small{size_bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
  }
  ~FileSizeLimit() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(StoppedBatch, ContinuesAfterAFullDisk) {
  const std::string journal = batch_.journal_content();
  for (std::uint64_t room_bytes = 0; room_bytes < 250; ++room_bytes) {
    test::write_file(batch_.journal, journal);
    fs::remove(batch_.output);
    {
      ResultFiles files = batch_.start();
      const FileSizeLimit full(journal.size() + room_bytes);
      const std::string message = test::error_of([&] { batch_.run_to_the_end(files, random_); });
      ASSERT_NE(message.find("file size limit"), std::string::npos) << message;
      ASSERT_NE(message.find(batch_.journal), std::string::npos) << message;
    }
    ASSERT_TRUE(batch_.expected_output().starts_with(batch_.output_content()));
    expect_the_end();
  }
}

TEST_F(StoppedBatch, ContinuesAfterAFullDiskOfTheOutput) {
  fs::remove(batch_.output);
  {
    const FileSizeLimit full(output_.size() - 5);
    EXPECT_ERROR(batch_.start(), batch_.output + ": writing");
  }
  EXPECT_TRUE(output_.starts_with(batch_.output_content()));
  expect_the_end();
}

/// A file system of one's own, for root.
class SmallDisk {
 public:
  explicit SmallDisk(std::string path) : path_(std::move(path)) {
    fs::create_directory(path_);
    mounted_ = mount("tmpfs", path_.c_str(), "tmpfs", 0, "size=64k") == 0;
  }
  ~SmallDisk() {
    if (mounted_) umount2(path_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  bool mounted() const { return mounted_; }
  bool change(unsigned long flags, const char* options) {
    return mount("tmpfs", path_.c_str(), "tmpfs", MS_REMOUNT | flags, options) == 0;
  }

 private:
  std::string path_;
  bool mounted_;
};

TEST(ResultFiles, ContinueAfterADiskWasFullOrReadOnly) {
  BatchCase batch(800);
  SmallDisk disk(batch.folder.file("disk"));
  if (!disk.mounted()) GTEST_SKIP() << "only root can mount a small disk";
  batch.output = batch.folder.file("disk/results.jsonl");
  batch.journal = batch.output + ".journal";
  std::mt19937 random(1);
  {
    ResultFiles files = batch.start();
    for (std::int64_t i = 0; i < 100; ++i) files.put(batch.results[static_cast<std::size_t>(i)]);
    files.sync();
    const std::string message = test::error_of([&] { batch.run_to_the_end(files, random); });
    EXPECT_NE(message.find("no space left on the device; free some"), std::string::npos) << message;
    EXPECT_NE(message.find("the same command continues"), std::string::npos) << message;
  }
  EXPECT_TRUE(batch.expected_output().starts_with(batch.output_content()));
  ASSERT_TRUE(disk.change(MS_RDONLY, "size=1m"));
  EXPECT_ERROR(batch.start(), batch.journal + ": cannot be opened: Read-only file system");
  ASSERT_TRUE(disk.change(0, "size=1m"));
  {
    ResultFiles files = batch.start();
    EXPECT_GE(files.num_finished(), 100);
    EXPECT_EQ(batch.run_to_the_end(files, random), batch.expected_hash());
  }
  EXPECT_EQ(batch.output_content(), batch.expected_output());
}

TEST(ResultFiles, NeedAFolderThatIsThere) {
  BatchCase batch(1);
  EXPECT_ERROR(ResultFiles(batch.folder.file("absent/results.jsonl"), batch.identity),
               "absent/results.jsonl.journal: cannot be created");
  EXPECT_ERROR(ResultFiles(batch.folder.path().string(), batch.identity), "exists");
}

}  // namespace
}  // namespace moesaic::batch
