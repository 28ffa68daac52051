#include "engine/text_stream.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <random>

#include "base/utf8.hpp"
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

TEST(TextStream, PiecesAreCompleteAndTogetherTheDecode) {
  for (const std::string text : {"Max the cat said \"hello\".", "na\xC3\xAFve \xE2\x82\xAC 5 \xF0\x9F\x98\x80 end",
                                 "\xE6\x97\xA5\xE6\x9C\xAC"}) {
    const auto tokens = demo_tokenizer().encode(text);
    TextStream stream(&demo_tokenizer(), {}, {});
    std::string all;
    for (const auto token : tokens) {
      const std::string piece = stream.push(token);
      EXPECT_FALSE(first_invalid_utf8(piece)) << piece;
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
    TextStream stream(&demo_tokenizer(), {}, {"never there", stop});
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
  TextStream stream(&demo_tokenizer(), {}, {"home alone"});
  std::string all;
  for (const auto token : tokens) all += stream.push(token);
  EXPECT_EQ(all.find("home"), std::string::npos);
  all += stream.finish();
  EXPECT_EQ(all, "Max went home");
}

TEST(TextStream, AContinuationKeepsItsSpaces) {
  const auto tokens = demo_tokenizer().encode("the cat said no");
  for (std::size_t cut = 1; cut < tokens.size(); ++cut) {
    const std::string prompt = demo_tokenizer().decode(std::span(tokens).first(cut));
    TextStream stream(&demo_tokenizer(), std::span(tokens).first(cut), {});
    for (const std::int32_t token : std::span(tokens).subspan(cut)) stream.push(token);
    stream.finish();
    EXPECT_EQ(prompt + stream.text(), "the cat said no");
  }
}

/// The text of tokens behind a prompt; the first `min_tokens` - 1 may not stop.
std::string text_until_stop(const std::vector<std::int32_t>& tokens, const std::vector<std::string>& stops,
                            std::size_t min_tokens, std::span<const std::int32_t> prompt = {}) {
  TextStream stream(&demo_tokenizer(), prompt, stops);
  std::string all;
  for (std::size_t i = 0; i < tokens.size() && !stream.stopped(); ++i) {
    const std::string fresh = stream.push(tokens[i], i + 1 >= min_tokens);
    EXPECT_FALSE(first_invalid_utf8(fresh));
    all += fresh;
  }
  all += stream.finish();
  EXPECT_EQ(all, stream.text());
  return all;
}

TEST(TextStream, AStopStringCountsWhereItIsComplete) {
  const auto tokens = demo_tokenizer().encode("the cat said the cat said");
  ASSERT_EQ(tokens.size(), 6u);
  const auto until = [&](const std::string& stop, std::size_t min_tokens) {
    return text_until_stop(tokens, {stop}, min_tokens);
  };
  EXPECT_EQ(until("said", 4), "the cat said the cat ");  // the third token completes the first one
  EXPECT_EQ(until("said", 3), "the cat ");
  EXPECT_EQ(until("cat said", 3), "the ");  // begins with the second
  EXPECT_EQ(until("the cat said", 3), "");
  EXPECT_EQ(until("the cat said", 4), "the cat said ");
  EXPECT_EQ(until("said the", 4), "the cat ");
  EXPECT_EQ(until("cat said the cat said", 6), "the ");
  EXPECT_EQ(until("cat said the cat said", 7), "the cat said the cat said");
}

TEST(TextStream, AStopStringInsideAnotherOneIsCompleteFirst) {
  const auto tokens = demo_tokenizer().encode("the cat said no");
  EXPECT_EQ(text_until_stop(tokens, {"cat said", "t s", "no"}, 0), "the ca");
  EXPECT_EQ(text_until_stop(tokens, {"aid", "said", "cat said"}, 0), "the ");  // end together: the longest
}

/// Where texts that grow a token at a time, whole characters only, meet a stop string. The slow definition.
std::string searched(const std::vector<std::string>& texts, const std::vector<std::string>& stops,
                     std::size_t min_tokens) {
  for (std::size_t size = 1; size < texts.size(); ++size) {  // of tokens
    if (size < min_tokens) continue;
    for (std::size_t end = texts[size - 1].size() + 1; end <= texts[size].size(); ++end) {
      std::size_t longest = 0;
      for (const std::string& stop : stops)
        if (texts[size].substr(0, end).ends_with(stop)) longest = std::max(longest, stop.size());
      if (longest > 0) return texts[size].substr(0, end - longest);
    }
  }
  return texts.back();
}

/// Any tokens, also bytes that make no character, behind any prompt: together the decode of all, cut where a search in
/// the whole text finds the stop string.
TEST(TextStream, RandomTokensAreTheDecodeOfAllUntilAStop) {
  std::mt19937 random(7);
  const auto drawn = [&](std::size_t most) {
    std::vector<std::int32_t> tokens(random() % most);
    const auto num = static_cast<std::uint64_t>(random() % 2 ? 300 : demo_tokenizer().num_pieces());
    for (std::int32_t& token : tokens) token = static_cast<std::int32_t>(random() % num);
    return tokens;
  };
  for (int round = 0; round < 4000; ++round) {
    const auto prompt = drawn(3);
    auto tokens = drawn(14);
    if (random() % 2) {  // the same again: stop strings are there twice
      const auto half = tokens;
      tokens.insert(tokens.end(), half.begin(), half.end());
    }
    io::Detokenizer detokenizer(demo_tokenizer());
    detokenizer.skip(prompt);
    std::vector<std::string> texts{""};  // by the number of tokens
    for (const std::int32_t token : tokens) texts.push_back(texts.back() + detokenizer.push(token));
    const std::string rest = detokenizer.finish();
    EXPECT_EQ(text_until_stop(tokens, {}, 0, prompt), texts.back() + rest);

    std::vector<std::string> stops;
    for (auto i = random() % 4; i > 0 && !texts.back().empty(); --i)
      if (std::string stop = texts.back().substr(random() % texts.back().size(), 1 + random() % 8);
          !first_invalid_utf8(stop))
        stops.push_back(std::move(stop));
    const std::size_t min_tokens = random() % (tokens.size() + 2);
    const std::string expected = searched(texts, stops, min_tokens);
    const bool stopped = expected != texts.back();
    EXPECT_EQ(text_until_stop(tokens, stops, min_tokens, prompt), stopped ? expected : expected + rest);
  }
}

}  // namespace
}  // namespace moesaic
