#include "batch/journal.hpp"

#include <filesystem>
#include <functional>

#include "../io/expect_error.hpp"
#include "batch_case.hpp"

namespace moesaic::batch {
namespace {

namespace fs = std::filesystem;

/// A batch that a crash has ended: with what was safe at the last sync, and what came after it.
class DamagedJournal : public testing::Test {
 protected:
  void SetUp() override {
    ResultFiles files = batch_.start();
    std::mt19937 random(7);
    std::vector<std::int64_t> order(200);  // nearly that of the input
    std::iota(order.begin(), order.end(), 0);
    for (auto part = order.begin(); part != order.end(); part += 8) std::shuffle(part, part + 8, random);
    for (std::size_t i = 0; i < 170; ++i) {
      files.put(batch_.results[static_cast<std::size_t>(order[i])]);
      if (i % 12 == 11 && i < 160) sync(files);
    }
    journal_ = batch_.journal_content();
    output_ = batch_.output_content();
  }

  void sync(ResultFiles& files) {
    before_last_sync_bytes_ = synced_bytes_;
    files.sync();
    synced_bytes_ = fs::file_size(batch_.journal);
  }

  /// Starts over the given journal. "": it went on to the end, which is right. Else why it was refused, and then
  /// nothing has changed.
  std::string go_on(const std::string& journal, std::mt19937& random) {
    test::write_file(batch_.journal, journal);
    if (!fs::exists(batch_.output)) test::write_file(batch_.output, output_);
    try {
      ResultFiles files = batch_.start();
      finish(files, random);
    } catch (const Error& error) {
      EXPECT_EQ(batch_.journal_content(), journal);
      EXPECT_EQ(batch_.output_content(), output_);
      return error.what();
    }
    return "";
  }
  void finish(ResultFiles& files, std::mt19937& random) {
    EXPECT_EQ(batch_.run_to_the_end(files, random), batch_.expected_hash());
    EXPECT_EQ(files.num_errors(), batch_.expected_errors());
    EXPECT_EQ(batch_.output_content(), expected_);
    fs::remove(batch_.output);
  }
  /// What the messages say: without the output the same command continues.
  void go_on_without_output(std::mt19937& random) {
    fs::remove(batch_.output);
    ResultFiles files = batch_.start();
    finish(files, random);
  }

  BatchCase batch_{200};
  const std::string expected_ = batch_.expected_output();
  std::string journal_, output_;
  std::uintmax_t synced_bytes_ = 0, before_last_sync_bytes_ = 0;
};

TEST_F(DamagedJournal, CutAtEachByteOfItsLast4KbContinues) {
  std::mt19937 random(1);
  ASSERT_GT(journal_.size(), 4096 + 1000u);
  ASSERT_LT(journal_.size() - 4096, synced_bytes_);
  std::size_t num_refused = 0;
  for (std::size_t size = journal_.size() - 4096; size < journal_.size(); ++size) {
    const std::string reason = go_on(journal_.substr(0, size), random);
    if (reason.empty()) continue;
    ASSERT_LT(size, synced_bytes_) << reason;  // what was not safe yet is computed again
    ASSERT_NE(reason.find(batch_.output + ": is not what"), std::string::npos) << reason;
    go_on_without_output(random);
    ++num_refused;
  }
  EXPECT_GT(num_refused, 0u);
  EXPECT_LT(num_refused, 4096u);
}

TEST_F(DamagedJournal, AFlippedBitIsRefusedOrWasNotSafeYet) {
  std::mt19937 random(2);
  std::size_t num_damaged = 0, num_continued = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string journal = journal_;
    const std::size_t at = random() % journal.size();
    journal[at] = static_cast<char>(journal[at] ^ (1 << random() % 8));
    const std::string reason = go_on(journal, random);
    if (at < synced_bytes_) {
      ASSERT_NE(reason.find(batch_.journal + ": is "), std::string::npos) << at << reason;
    } else {
      ASSERT_EQ(reason, "") << at;
    }
    if (const auto place = reason.find("damaged at byte "); place != std::string::npos) {
      const auto begin_bytes = std::stoul(reason.substr(place + 16));
      ASSERT_LE(begin_bytes, at);
      // The remedy that the message gives.
      if (begin_bytes == 0)
        fs::remove(batch_.journal);
      else
        fs::resize_file(batch_.journal, begin_bytes);
      go_on_without_output(random);
      ++num_damaged;
    }
    num_continued += reason.empty();
  }
  EXPECT_GT(num_damaged, 1000u);
  EXPECT_GT(num_continued, 20u);
}

/// The file system may have written later blocks and not earlier ones, which read as zeros or as what was there.
TEST_F(DamagedJournal, LostBlocksOfWhatWasNotSafeAreComputedAgain) {
  std::mt19937 random(3);
  for (int i = 0; i < 200; ++i) {
    std::string journal = journal_;
    const std::size_t at = synced_bytes_ + random() % (journal.size() - synced_bytes_);
    const std::size_t size = 1 + random() % (journal.size() - at);
    journal.replace(at, size, size, i % 2 ? '\0' : 'x');
    if (i % 3 == 0) journal.append(5000, '\0');
    ASSERT_EQ(go_on(journal, random), "");
  }
}

/// Whole frames after a broken one must not come to life again behind another result in its place.
TEST_F(DamagedJournal, NothingIsLeftBehindABrokenFrame) {
  std::string journal = journal_;
  journal[synced_bytes_] ^= 1;
  test::write_file(batch_.journal, journal);
  batch_.start();
  EXPECT_EQ(batch_.journal_content(), journal_.substr(0, synced_bytes_));
}

TEST_F(DamagedJournal, FramesOutOfPlaceAreNone) {
  std::mt19937 random(4);
  // The last results once more: they are not in their positions.
  EXPECT_EQ(go_on(journal_ + journal_.substr(synced_bytes_), random), "");
  // Some are missing in the middle.
  std::string journal = journal_;
  journal.erase(before_last_sync_bytes_, synced_bytes_ - before_last_sync_bytes_);
  EXPECT_NE(go_on(journal, random).find("is "), std::string::npos);
}

TEST_F(DamagedJournal, AnotherFileIsNoJournal) {
  std::mt19937 random(5);
  EXPECT_NE(go_on("notes of mine", random).find("is no journal"), std::string::npos);
  EXPECT_NE(go_on(std::string(100'000, 'x'), random).find("is no journal"), std::string::npos);
  EXPECT_NE(go_on("", random).find("exists, and"), std::string::npos);  // an output, and nothing says of what
}

TEST(Journal, CutInItsIdentityIsBegunAnew) {
  BatchCase batch(3);
  { ResultFiles files = batch.start(); }
  const std::string identity = batch.journal_content();
  std::mt19937 random(1);
  for (std::size_t size = 0; size <= identity.size(); ++size) {
    for (const char lost : {'-', '\0'}) {
      fs::remove(batch.output);
      test::write_file(batch.journal, lost ? identity.substr(0, size) : std::string(size, lost));
      ResultFiles files = batch.start();
      EXPECT_EQ(batch.run_to_the_end(files, random), batch.expected_hash());
      EXPECT_EQ(batch.output_content(), batch.expected_output());
    }
  }
}

TEST(Journal, ASmallOneStaysWhenTheBatchIsComplete) {
  BatchCase batch(500);
  batch.complete();
  EXPECT_LT(batch.journal_content().size(), 500u);
  const std::string complete = batch.journal_content();
  for (std::size_t bit = 0; bit < 8 * complete.size(); ++bit) {  // each of its bits is checked
    std::string journal = complete;
    journal[bit / 8] = static_cast<char>(journal[bit / 8] ^ (1 << bit % 8));
    test::write_file(batch.journal, journal);
    ASSERT_NE(test::error_of([&] { batch.start(); }), "");
    ASSERT_EQ(batch.journal_content(), journal);
    ASSERT_EQ(batch.output_content(), batch.expected_output());
  }
}

TEST(Journal, NamesEachFactThatDiffers) {
  BatchCase batch(3);
  {
    ResultFiles files = batch.start();
    files.put(batch.results[2]);
    files.sync();
  }
  const std::string before = batch.journal_content();
  const Identity other{{"input", "requests.jsonl: 1235 bytes"}, {"numerics", "w8a16"}, {"template", "plain"}};
  const std::string message = test::error_of([&] { ResultFiles(batch.output, other); });
  for (const auto* part : {"input: begun with 'requests.jsonl: 1234 bytes', now 'requests.jsonl: 1235 bytes'",
                           "seed: begun with '0', now nothing", "template: begun with nothing, now 'plain'",
                           "results.jsonl.journal", "move it and its output away"})
    EXPECT_NE(message.find(part), std::string::npos) << part << "\nis not in\n" << message;
  EXPECT_EQ(message.find("numerics"), std::string::npos) << message;
  EXPECT_EQ(batch.journal_content(), before);
  EXPECT_TRUE(batch.start().finished(2));
}

}  // namespace
}  // namespace moesaic::batch
