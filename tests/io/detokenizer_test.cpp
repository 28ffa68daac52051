#include "io/detokenizer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <utility>

#include "base/utf8.hpp"
#include "support/test_data.hpp"
#include "temporary_folder.hpp"

namespace moesaic::io {
namespace {

using Ids = std::vector<std::int32_t>;

std::string text_behind(const Tokenizer& tokenizer, const Ids& skipped, const Ids& ids) {
  Detokenizer detokenizer(tokenizer);
  detokenizer.skip(skipped);
  std::string text;
  for (const std::int32_t id : ids) {
    const std::string fresh = detokenizer.push(id);
    EXPECT_FALSE(first_invalid_utf8(fresh));
    text += fresh;
  }
  return text + detokenizer.finish();
}

/// What `whole` has behind `begin`, whose last bytes may have become a character in it.
std::string behind(const std::string& whole, std::string begin) {
  while (!whole.starts_with(begin)) begin.resize(begin.size() - std::string_view("\uFFFD").size());
  return whole.substr(begin.size());
}

Ids joined(Ids first, const Ids& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

/// The demo's tokenizer: add_dummy_prefix, byte fallback, control pieces 0 to 2 or so.
class DetokenizerTest : public testing::Test {
 protected:
  /// First that id whose piece reads so.
  std::int32_t id_of(std::string_view piece) const {
    for (std::int32_t id = 0; id < tokenizer_.num_pieces(); ++id)
      if (tokenizer_.piece(id) == piece) return id;
    ADD_FAILURE() << piece;
    return 0;
  }
  std::int32_t byte(unsigned char value) const {
    for (std::int32_t id = 0; id < tokenizer_.num_pieces(); ++id)
      if (tokenizer_.is_byte(id) && tokenizer_.piece(id)[0] == static_cast<char>(value)) return id;
    ADD_FAILURE() << int{value};
    return 0;
  }

  Tokenizer tokenizer_ = Tokenizer::from_bytes(test::read_file(MOESAIC_TEST_DATA "/demo/tokenizer.model"), "demo");
  const std::int32_t end_ = 2, space_ = id_of(" "), the_ = id_of(" the");
};

TEST_F(DetokenizerTest, TheSpaceAtTheBeginningOfATextIsDroppedAndNoOther) {
  EXPECT_EQ(text_behind(tokenizer_, {}, {the_, the_}), "the the");
  EXPECT_EQ(text_behind(tokenizer_, {the_}, {the_, the_}), " the the");
  EXPECT_EQ(text_behind(tokenizer_, {the_}, {end_, the_, end_, the_}), " the the");
  EXPECT_EQ(text_behind(tokenizer_, {the_, end_}, {the_}), " the");
  EXPECT_EQ(text_behind(tokenizer_, {end_}, {the_}), "the");  // the text of the whole is "the"
  EXPECT_EQ(text_behind(tokenizer_, {end_, the_}, {the_}), " the");
  EXPECT_EQ(text_behind(tokenizer_, {byte('a')}, {the_}), " the");
}

TEST_F(DetokenizerTest, ACharacterThatBeginsInWhatWasSkippedBelongsToItsEnd) {
  EXPECT_EQ(text_behind(tokenizer_, {the_, byte(0xE2), byte(0x98)}, {byte(0x83), the_}), "\u2603 the");
  EXPECT_EQ(text_behind(tokenizer_, {the_, byte(0xE2), byte(0x98)}, {the_}), " the");
  EXPECT_EQ(text_behind(tokenizer_, {the_, byte(0xE2)}, {byte(0xE2), byte(0x98), byte(0x83)}), "\u2603");
  EXPECT_EQ(text_behind(tokenizer_, {byte(0xE2)}, {byte(0x98)}), "\uFFFD");
  EXPECT_EQ(text_behind(tokenizer_, {byte(0xE2)}, {}), "");
}

/// Of any ids, those without a piece too: SentencePiece's decode of the whole behind that of the beginning.
void expect_sentencepiece(const Tokenizer& tokenizer) {
  std::mt19937 random(7);
  Ids bytes, controls, spaces;
  for (std::int32_t id = 0; id < tokenizer.num_pieces(); ++id) {
    const std::string piece = tokenizer.piece(id);
    if (tokenizer.is_byte(id)) bytes.push_back(id);
    if (piece.empty()) controls.push_back(id);
    if (!piece.empty() && piece.find_first_not_of(' ') == std::string::npos) spaces.push_back(id);
  }
  const auto drawn = [&]() -> std::int32_t {
    const auto of = [&](const Ids& ids) { return ids.empty() ? 5 : ids[random() % ids.size()]; };
    switch (random() % 6) {
      case 0:
        return of(controls);
      case 1:
        return of(spaces);
      case 2:
      case 3:
        return of(bytes);
      default:
        return static_cast<std::int32_t>(random() % static_cast<std::uint64_t>(tokenizer.num_pieces() + 20));
    }
  };
  for (int round = 0; round < 20'000; ++round) {
    Ids skipped(random() % 6), ids(random() % 10);
    std::ranges::generate(skipped, drawn);
    std::ranges::generate(ids, drawn);
    const std::string expected = behind(tokenizer.decode(joined(skipped, ids)), tokenizer.decode(skipped));
    ASSERT_EQ(text_behind(tokenizer, skipped, ids), expected)
        << testing::PrintToString(joined(skipped, ids)) << " behind " << skipped.size();
  }
}

TEST_F(DetokenizerTest, IsSentencePiecesDecode) { expect_sentencepiece(tokenizer_); }

TEST(Detokenizer, IsSentencePiecesDecodeOfGrokOne) {
  const std::string file = (test::shared_folder() / "tokenizer/grok-1.tokenizer.model").string();
  if (!std::filesystem::exists(file)) GTEST_SKIP() << file << " is absent";
  expect_sentencepiece(Tokenizer::from_bytes(test::read_file(file), file));
}

}  // namespace
}  // namespace moesaic::io
