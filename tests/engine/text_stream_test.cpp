#include "engine/text_stream.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <random>

#include "support/test_data.hpp"

namespace moesaic {
namespace {

const io::Tokenizer& demo_tokenizer() {
  static const io::Tokenizer tokenizer = [] {
    std::ifstream file(test::golden("demo") / "tokenizer.model", std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    return io::Tokenizer::from_bytes(bytes, "the demo tokenizer");
  }();
  return tokenizer;
}

bool is_complete_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t size = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
    if (size == 0 || i + size > text.size()) return false;
    for (std::size_t j = 1; j < size; ++j)
      if ((static_cast<unsigned char>(text[i + j]) & 0xc0) != 0x80) return false;
    i += size;
  }
  return true;
}

TEST(TextStream, PiecesAreCompleteAndTogetherTheDecode) {
  for (const std::string text : {"Max the cat said \"hello\".", "na\xC3\xAFve \xE2\x82\xAC 5 \xF0\x9F\x98\x80 end",
                                 "\xE6\x97\xA5\xE6\x9C\xAC"}) {
    const auto tokens = demo_tokenizer().encode(text);
    TextStream stream(&demo_tokenizer(), {});
    std::string all;
    for (const auto token : tokens) {
      const std::string piece = stream.push(token);
      EXPECT_TRUE(is_complete_utf8(piece)) << piece;
      all += piece;
    }
    all += stream.finish();
    EXPECT_EQ(all, demo_tokenizer().decode(tokens));
    EXPECT_EQ(stream.text(), all);
  }
}

TEST(TextStream, StopStringsCutWhereverTheyBegin) {
  const auto tokens = demo_tokenizer().encode("One day Max went home. Then he slept.");
  const std::string decoded = demo_tokenizer().decode(tokens);
  for (const std::string stop : {"home", "home. Then", " went", "One", "y M"}) {
    TextStream stream(&demo_tokenizer(), {"never there", stop});
    std::string all;
    for (const auto token : tokens) {
      all += stream.push(token);
      EXPECT_EQ(all.find(stop), std::string::npos);
      if (stream.stopped()) break;
    }
    EXPECT_TRUE(stream.stopped());
    all += stream.finish();
    EXPECT_EQ(all, decoded.substr(0, decoded.find(stop)));
  }
}

TEST(TextStream, TextHeldForAStopStringIsNotLost) {
  const auto tokens = demo_tokenizer().encode("Max went home");
  TextStream stream(&demo_tokenizer(), {"home alone"});
  std::string all;
  for (const auto token : tokens) all += stream.push(token);
  EXPECT_EQ(all.find("home"), std::string::npos);
  all += stream.finish();
  EXPECT_EQ(all, "Max went home");
}

/// Any tokens, also bytes that make no character: together the decode of all, in pieces that do not end inside one.
TEST(TextStream, RandomTokensAreTheDecodeOfAll) {
  std::mt19937 random(7);
  for (int round = 0; round < 400; ++round) {
    std::vector<std::int32_t> tokens;
    for (int i = 1 + static_cast<int>(random() % 40); i > 0; --i)
      tokens.push_back(static_cast<std::int32_t>(random() % (random() % 2 ? 300 : demo_tokenizer().num_pieces())));
    const std::string all = demo_tokenizer().decode(tokens), stop = all.substr(all.size() / 2, 1 + random() % 3);
    for (const bool stops : {false, true}) {
      if (stops && (stop.empty() || !is_complete_utf8(stop) || stop.find("\xEF\xBF\xBD") != std::string::npos))
        continue;
      TextStream stream(&demo_tokenizer(), stops ? std::vector{stop} : std::vector<std::string>{});
      std::string text;
      for (const std::int32_t token : tokens) text += stream.push(token);
      text += stream.finish();
      EXPECT_EQ(text, stream.text());
      EXPECT_EQ(text, stops ? all.substr(0, all.find(stop)) : all);
    }
  }
}

TEST(TextStream, AContinuationKeepsItsSpaces) {
  const auto tokens = demo_tokenizer().encode("the cat said no");
  for (std::size_t cut = 1; cut < tokens.size(); ++cut) {
    const std::string prompt = demo_tokenizer().decode(std::span(tokens).first(cut));
    TextStream stream(&demo_tokenizer(), {}, true);
    for (const std::int32_t token : std::span(tokens).subspan(cut)) stream.push(token);
    stream.finish();
    EXPECT_EQ(prompt + stream.text(), "the cat said no");
  }
}

TEST(TextStream, AStopStringThatMayNotStopIsText) {
  const auto tokens = demo_tokenizer().encode("the cat said the cat said");
  TextStream stream(&demo_tokenizer(), {"said"});
  for (std::size_t i = 0; i < tokens.size(); ++i) stream.push(tokens[i], i + 2 >= tokens.size());
  EXPECT_TRUE(stream.stopped());
  EXPECT_EQ(stream.text(), "the cat said the cat ");
}

}  // namespace
}  // namespace moesaic
