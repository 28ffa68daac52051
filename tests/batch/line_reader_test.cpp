#include "batch/line_reader.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>

#include "../io/expect_error.hpp"
#include "base/error.hpp"
#include "openai/json_line.hpp"

namespace moesaic::batch {
namespace {

class LineReaderTest : public testing::Test {
 protected:
  std::string write(const std::string& content, const std::string& name = "lines") {
    const std::string path = testing::TempDir() + name;
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }
  static std::vector<InputLine> all(LineReader reader) {
    std::vector<InputLine> lines;
    while (auto line = reader.next()) lines.push_back(std::move(*line));
    return lines;
  }
};

TEST_F(LineReaderTest, GivesIndexNumberAndOffsetOfLinesThatAreNotBlank) {
  const auto lines = all(LineReader(write("\xEF\xBB\xBFone\r\n\n  \t\r\n two\nthree")));
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].text, "one");
  EXPECT_EQ(lines[0].place.offset_bytes, 3);
  EXPECT_EQ(lines[0].place.number, 1);
  EXPECT_EQ(lines[1].text, " two");
  EXPECT_EQ(lines[1].place.offset_bytes, 14);
  EXPECT_EQ(lines[1].place.number, 4);
  EXPECT_EQ(lines[1].place.index, 1);
  EXPECT_EQ(lines[2].text, "three");
  EXPECT_EQ(lines[2].place.index, 2);
}

/// A file of several pieces that has been read once.
class ChangingFile : public LineReaderTest {
 protected:
  void SetUp() override {
    for (int i = 0; i < 3000; ++i)
      lines_ += std::string(static_cast<std::size_t>(i % 1500), 'x') + (i % 7 ? "\n" : "\r\n");
    path_ = write(lines_);
    content_ = content_of(path_);
  }
  void read_again() const {
    LineReader reader(path_, &content_);
    while (reader.next()) {
    }
    reader.check_unchanged();
  }
  void expect_changed(const std::string& message) const {
    EXPECT_NE(message.find(path_ + ": was changed, replaced or removed while the job ran"), std::string::npos)
        << message;
  }

  std::string lines_, path_;
  FileContent content_;
};

TEST_F(ChangingFile, IsKnownByItsContent) {
  EXPECT_EQ(content_.size_bytes, std::ssize(lines_));
  EXPECT_EQ(content_.num_lines, std::ssize(all(LineReader(path_))));
  EXPECT_EQ(content_.hash, hash_bytes(std::as_bytes(std::span(lines_))));
  EXPECT_EQ(content_.pieces.size(), 3u);
  EXPECT_NO_THROW(read_again());
}

TEST_F(ChangingFile, ALaterSizeTimeOrNameIsNoticed) {
  LineReader reader(path_, &content_);
  reader.check_unchanged();
  std::filesystem::last_write_time(path_, content_.modified + std::chrono::seconds(1));
  expect_changed(test::error_of([&] { reader.check_unchanged(); }));
  std::filesystem::last_write_time(path_, content_.modified);
  reader.check_unchanged();
  std::filesystem::resize_file(path_, lines_.size() + 1);
  std::filesystem::last_write_time(path_, content_.modified);
  expect_changed(test::error_of([&] { reader.check_unchanged(); }));
  std::filesystem::resize_file(path_, lines_.size());
  std::filesystem::last_write_time(path_, content_.modified);
  std::filesystem::copy_file(path_, path_ + ".new", std::filesystem::copy_options::overwrite_existing);
  std::filesystem::rename(path_ + ".new", path_);
  std::filesystem::last_write_time(path_, content_.modified);
  expect_changed(test::error_of([&] { reader.check_unchanged(); }));
  EXPECT_NO_THROW(read_again());  // the same file, for whoever opens it now
  std::filesystem::remove(path_);
  expect_changed(test::error_of([&] { reader.check_unchanged(); }));
}

/// With size and time as they were.
TEST_F(ChangingFile, OtherBytesAreNeverGivenOut) {
  for (const std::size_t at : {std::size_t{0}, std::size_t{1} << 20, lines_.size() - 2}) {
    std::string changed = lines_;
    changed[at] ^= 1;
    write(changed);
    std::filesystem::last_write_time(path_, content_.modified);
    std::int64_t num_given = 0;
    expect_changed(test::error_of([&] {
      for (LineReader reader(path_, &content_); reader.next();) ++num_given;
    }));
    EXPECT_EQ(num_given,
              std::ssize(all(LineReader(write(lines_.substr(0, at >> 20 << 20), "before")))) - (at >> 20 ? 1 : 0));
    write(lines_);
    std::filesystem::last_write_time(path_, content_.modified);
    EXPECT_NO_THROW(read_again());
  }
}

TEST_F(LineReaderTest, ALineThatIsTooLongIsCutAndTheNextOneIsWhole) {
  const auto lines = all(LineReader(write(std::string(openai::kLargestLine_bytes, 'a') + "\n" +
                                          std::string(openai::kLargestLine_bytes + 5000000, 'b') + "\nnext\n")));
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].text.size(), openai::kLargestLine_bytes);
  EXPECT_EQ(lines[1].text.size(), openai::kLargestLine_bytes + 1);
  EXPECT_EQ(lines[2].text, "next");
  EXPECT_EQ(lines[2].place.index, 2);
}

TEST_F(LineReaderTest, EmptyFilesHaveNoLines) {
  EXPECT_TRUE(all(LineReader(write(""))).empty());
  EXPECT_TRUE(all(LineReader(write("\xEF\xBB\xBF"))).empty());
  EXPECT_TRUE(all(LineReader(write("\n\r\n \n"))).empty());
  EXPECT_THROW(LineReader(testing::TempDir() + "is-not-there"), Error);
}

TEST_F(LineReaderTest, AFileThatIsNoTextIsRefused) {
  EXPECT_ERROR(LineReader(write("\xFF\xFE{")), "lines: is in UTF-16, expected text in UTF-8");
}

TEST_F(LineReaderTest, TheFormatIsGuessedByNameThenFirstLine) {
  const std::string json = "\xEF\xBB\xBF\n {\"prompt\": \"a\"}\n", text = "Once upon a time\n";
  EXPECT_EQ(guess_format(write(json)), openai::LineFormat::kJson);
  EXPECT_EQ(guess_format(write(text)), openai::LineFormat::kText);
  EXPECT_EQ(guess_format(write(text, "lines.jsonl")), openai::LineFormat::kJson);
  EXPECT_EQ(guess_format(write(json, "lines.txt")), openai::LineFormat::kText);
  EXPECT_EQ(guess_format(write(" [ {\"prompt\": \"a\"},\n")), openai::LineFormat::kJson);
  EXPECT_EQ(guess_format(write("[\n{}")), openai::LineFormat::kJson);
  EXPECT_EQ(guess_format(write("[Verse 1]\n")), openai::LineFormat::kText);
  EXPECT_ERROR(guess_format(write(text, "lines.csv")), "is named as a table");
  EXPECT_ERROR(guess_format(write(text, "LINES.CSV")), "is named as a table");
}

}  // namespace
}  // namespace moesaic::batch
