#include "engine/layer_hashes.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.hpp"

namespace moesaic {
namespace {

/// Two-letter hashes at the ends of lines are repeated to their 32 digits.
std::string write(const std::string& name, std::string lines) {
  const std::string path = testing::TempDir() + name;
  for (std::size_t end = lines.find('\n'); end != std::string::npos; end = lines.find('\n', end + 1)) {
    const std::string letters = lines.substr(end - 2, 2);
    for (int i = 0; i < 15; ++i, end += 2) lines.insert(end, letters);
  }
  std::ofstream(path) << "# moesaic layer hashes: sequence layer operation rows hash\n# logits w8a16\n" << lines;
  return path;
}

TEST(LayerHashFile, NamesTheFirstDifferenceInTheOrderOfComputation) {
  const auto a = read_layer_hashes(write("a", "0 -1 embed 4 aa\n0 0 attn_norm 4 bb\n0 0 router 4 cc\n0 10 moe 4 dd\n"));
  const auto same =
      read_layer_hashes(write("b", "0 10 moe 4 dd\n0 0 router 4 cc\n0 -1 embed 4 aa\n0 0 attn_norm 4 bb\n"));
  EXPECT_FALSE(first_difference(a, same));
  const auto other =
      read_layer_hashes(write("c", "0 -1 embed 4 aa\n0 0 attn_norm 4 bb\n0 0 router 4 cd\n0 10 moe 4 de\n"));
  EXPECT_EQ(first_difference(a, other), "sequence 0, layer 0, router");
  const auto shorter = read_layer_hashes(write("d", "0 -1 embed 4 aa\n0 0 attn_norm 4 bb\n0 0 router 4 cc\n"));
  EXPECT_EQ(first_difference(a, shorter), "sequence 0, layer 10, moe (only the first file has it)");
}

TEST(LayerHashFile, RefusesOtherFiles) {
  EXPECT_THROW(read_layer_hashes("/nowhere/at/all"), Error);
  EXPECT_THROW(read_layer_hashes(write("e", "")), Error);
  EXPECT_THROW(read_layer_hashes(write("f", "0 0 nonsense 4 aa\n")), Error);
  const std::string cut = testing::TempDir() + "cut";
  std::ofstream(cut) << "0 0 moe 4 aaaaaaaa";
  EXPECT_THROW(read_layer_hashes(cut), Error);
  EXPECT_THROW(read_layer_hashes(write("g", "not a line\n")), Error);
}

}  // namespace
}  // namespace moesaic
