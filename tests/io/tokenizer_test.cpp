#include "io/tokenizer.hpp"

#include <gtest/gtest.h>

#include <random>

#include "expect_error.hpp"
#include "support/test_data.hpp"
#include "temporary_folder.hpp"

namespace moesaic::io {
namespace {

std::string demo_model() { return test::read_file(MOESAIC_TEST_DATA "/demo/tokenizer.model"); }

TEST(Tokenizer, EncodesAndDecodes) {
  const std::string model = demo_model();
  EXPECT_EQ(Tokenizer::check_in_child(model, "demo"), 2048);
  const Tokenizer tokenizer = Tokenizer::from_bytes(model, "demo");
  EXPECT_EQ(tokenizer.num_pieces(), 2048);
  const auto ids = tokenizer.encode("Once upon a time");
  ASSERT_FALSE(ids.empty());
  EXPECT_EQ(tokenizer.decode(ids), "Once upon a time");
  const std::vector<std::int32_t> beyond{ids[0], 5'000'000, -3};
  EXPECT_NO_THROW((void)tokenizer.decode(beyond));
}

TEST(Tokenizer, GrokOneEncodesAsDocumented) {
  const std::string file = (test::shared_folder() / "tokenizer/grok-1.tokenizer.model").string();
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "Grok-1's tokenizer is in ../shared, which is not there";
  const Tokenizer tokenizer = Tokenizer::from_bytes(test::read_file(file), file);
  EXPECT_EQ(tokenizer.num_pieces(), 131072);
  EXPECT_EQ(tokenizer.encode("hello world"), (std::vector<std::int32_t>{21560, 1135}));
}

TEST(Tokenizer, BadModelsGiveErrors) {
  EXPECT_ERROR((void)Tokenizer::check_in_child("garbage", "g.model"), "g.model");
  EXPECT_ERROR((void)Tokenizer::check_in_child("", "g.model"), "g.model");
  const std::string model = demo_model();
  std::mt19937 random(4);
  for (int round = 0; round < 40; ++round) {
    std::string mutated = model;
    for (int n = 0; n < 3; ++n) mutated[random() % mutated.size()] = static_cast<char>(random());
    try {
      (void)Tokenizer::check_in_child(mutated, "mutated");
    } catch (const Error&) {
    }
  }
}

}  // namespace
}  // namespace moesaic::io
