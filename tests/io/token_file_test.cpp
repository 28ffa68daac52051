#include "io/token_file.hpp"

#include <gtest/gtest.h>

#include "expect_error.hpp"
#include "temporary_folder.hpp"

namespace moesaic::io {
namespace {

constexpr TokenLimits kLimits{100, 4};

auto parse(const std::string& text) { return parse_token_lists(text, "t.json", kLimits); }

TEST(TokenFile, ReadsLists) {
  EXPECT_EQ(parse("[[1, 99], [5]]"), (std::vector<std::vector<std::int32_t>>{{1, 99}, {5}}));
  const test::TemporaryFolder folder;
  test::write_file(folder.file("t.json"), "[[7]]\n");
  EXPECT_EQ(read_token_file(folder.file("t.json"), kLimits), (std::vector<std::vector<std::int32_t>>{{7}}));
}

TEST(TokenFile, NamesWhatIsWrong) {
  EXPECT_ERROR(parse("[[1], [5, 0]]"), "t.json: list 1: token 1 is 0, which is padding");
  EXPECT_ERROR(parse("[[1], [5, 100]]"), "t.json: list 1: token 1 is 100, expected 1 to 99");
  EXPECT_ERROR(parse("[[-1]]"), "token 0 is -1");
  EXPECT_ERROR(parse("[[18446744073709551615]]"), "token 0 is 18446744073709551615");
  EXPECT_ERROR(parse("[[1.5]]"), "is 1.5, expected an integer");
  EXPECT_ERROR(parse("[[1], []]"), "list 1: is empty");
  EXPECT_ERROR(parse("[]"), "empty list");
  EXPECT_ERROR(parse("[1, 2]"), "entry 0 is 1, expected a token list");
  EXPECT_ERROR(parse("{\"a\": 1}"), "an object, expected a list");
  EXPECT_ERROR(parse("[[1, 2, 3, 4, 5]]"), "has 5 tokens, the model's context is 4");
  EXPECT_ERROR(parse("[[1, 2"), "not valid JSON");
  EXPECT_ERROR(parse(""), "not valid JSON");
  EXPECT_ERROR(read_token_file("/absent/t.json", kLimits), "cannot be opened");
}

TEST(TokenFile, DeepNestingIsRefusedNotFatal) {
  EXPECT_ERROR(parse(std::string(200'000, '[')), "nested 200000 levels");
  EXPECT_ERROR(parse(std::string(200'000, '[') + std::string(200'000, ']')), "nested");
}

TEST(TokenFile, ContextIsCheckedOnlyWhenGiven) {
  EXPECT_EQ(parse_token_lists("[[1, 2, 3, 4, 5]]", "t.json", {100, {}})[0].size(), 5u);
  const std::vector<std::int32_t> ids{3, 0};
  EXPECT_ERROR(check_tokens(ids, "prompt 3", kLimits), "prompt 3: token 1 is 0");
}

}  // namespace
}  // namespace moesaic::io
