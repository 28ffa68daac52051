#include "batch/line_reader.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.hpp"
#include "batch/json_line.hpp"

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

TEST_F(LineReaderTest, GoesOnFromAnyPlace) {
  std::string content = "\xEF\xBB\xBF";
  for (int i = 0; i < 3000; ++i)
    content += std::string(static_cast<std::size_t>(i % 1500), 'x') + (i % 7 ? "\n" : "\r\n");
  const std::string path = write(content);
  const auto whole = all(LineReader(path));
  LineReader reader(path);
  for (std::size_t i = 0; i < whole.size(); i += 500) {
    const auto rest = all(LineReader(path, reader.next_place()));
    ASSERT_EQ(rest.size(), whole.size() - i);
    for (std::size_t k = 0; k < rest.size(); ++k) {
      ASSERT_EQ(rest[k].text, whole[i + k].text);
      ASSERT_EQ(rest[k].place.index, whole[i + k].place.index);
      ASSERT_EQ(rest[k].place.number, whole[i + k].place.number);
    }
    for (int k = 0; k < 500; ++k) reader.next();
  }
  EXPECT_THROW(LineReader(path, {static_cast<std::int64_t>(content.size()) + 1, 1, 0}), Error);
}

TEST_F(LineReaderTest, ALineThatIsTooLongIsCutAndTheNextOneIsWhole) {
  const auto lines = all(LineReader(write(std::string(kLargestLine_bytes, 'a') + "\n" +
                                          std::string(kLargestLine_bytes + 5000000, 'b') + "\nnext\n")));
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].text.size(), kLargestLine_bytes);
  EXPECT_EQ(lines[1].text.size(), kLargestLine_bytes + 1);
  EXPECT_EQ(lines[2].text, "next");
  EXPECT_EQ(lines[2].place.index, 2);
}

TEST_F(LineReaderTest, EmptyFilesHaveNoLines) {
  EXPECT_TRUE(all(LineReader(write(""))).empty());
  EXPECT_TRUE(all(LineReader(write("\xEF\xBB\xBF"))).empty());
  EXPECT_TRUE(all(LineReader(write("\n\r\n \n"))).empty());
  EXPECT_THROW(LineReader(testing::TempDir() + "is-not-there"), Error);
}

TEST_F(LineReaderTest, TheFormatIsChosenByOptionThenNameThenFirstLine) {
  const std::string json = "\xEF\xBB\xBF\n {\"prompt\": \"a\"}\n", text = "Once upon a time\n";
  EXPECT_EQ(choose_format("auto", write(json)), LineFormat::kJson);
  EXPECT_EQ(choose_format("auto", write(text)), LineFormat::kText);
  EXPECT_EQ(choose_format("auto", write(text, "lines.jsonl")), LineFormat::kJson);
  EXPECT_EQ(choose_format("auto", write(json, "lines.txt")), LineFormat::kText);
  EXPECT_EQ(choose_format("jsonl", "lines.txt"), LineFormat::kJson);
  EXPECT_EQ(choose_format("text", "lines.jsonl"), LineFormat::kText);
  EXPECT_THROW(choose_format("csv", "lines"), Error);
}

}  // namespace
}  // namespace moesaic::batch
