#include "batch/batch_run.hpp"

#include <gtest/gtest.h>

#include "../io/temporary_folder.hpp"

namespace moesaic::batch {
namespace {

bool has_seeded_draws_in(const std::string& lines, LineFormat format = LineFormat::kJson) {
  const test::TemporaryFolder folder;
  BatchInput input;
  input.path = folder.file("requests");
  test::write_file(input.path, lines);
  input.content = content_of(input.path);
  input.format = format;
  input.defaults.vocab_size = 100;
  return has_seeded_draws(input);
}

TEST(BatchRun, SeedsOfRequestsAreFound) {
  const std::string bare = R"({"prompt": "a"})"
                           "\n",
                    seeded = R"({"prompt": "a", "seed": 0})"
                             "\n";
  EXPECT_FALSE(has_seeded_draws_in(bare + bare));
  EXPECT_TRUE(has_seeded_draws_in(bare + seeded));
  EXPECT_TRUE(
      has_seeded_draws_in(R"({"custom_id": "1", "url": "/v1/completions", "body": {"prompt": "a", "seed": -1}})"));
  EXPECT_TRUE(has_seeded_draws_in(R"({"prompt": "a", "\u0073e\u0065d": 5})"));
  EXPECT_TRUE(has_seeded_draws_in(R"({"prompt": "a", "see\u0064": 5})"));
  EXPECT_FALSE(has_seeded_draws_in(R"({"prompt": "seed", "user": "\"seed\" \u0073\u00e9", "seed": null})"));
  EXPECT_FALSE(has_seeded_draws_in(R"({"prompt": "a", "seed": "five"})"
                                   "\n"
                                   R"({"seed": 5})"));  // become errors
  EXPECT_FALSE(has_seeded_draws_in(R"({"prompt": "a", "seed": 5, "temperature": 0})"));
  EXPECT_FALSE(has_seeded_draws_in(R"({"type": "loglikelihood", "context": [1], "continuation": [2], "seed": 5})"));
  EXPECT_FALSE(has_seeded_draws_in(seeded, LineFormat::kText));
}

}  // namespace
}  // namespace moesaic::batch
