#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "../io/expect_error.hpp"
#include "../io/temporary_folder.hpp"
#include "config/grok1.hpp"
#include "io/store_reader.hpp"
#include "synthetic/random_weights.hpp"
#include "synthetic/synthesize.hpp"

namespace moesaic::converters {
namespace {

TEST(RandomWeights, DoNotDependOnHowTheyAreCut) {
  const RandomTensor random(7, "layers/0/moe/gate");
  std::vector<std::int8_t> whole(1000), part(333);
  random.fill_int8(0, whole);
  for (const std::size_t begin : {0u, 1u, 501u, 667u}) {
    random.fill_int8(static_cast<std::int64_t>(begin), part);
    EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + static_cast<std::ptrdiff_t>(begin)));
  }
}

TEST(RandomWeights, HaveTheirMomentsAndRange) {
  std::vector<std::int8_t> values(1 << 20);
  RandomTensor(1, "a").fill_int8(0, values);
  double sum = 0, squares = 0;
  for (const auto value : values) {
    ASSERT_NE(value, -128);
    sum += value, squares += value * value;
  }
  const double count = static_cast<double>(values.size());
  // Six standard errors of the mean and of the variance.
  EXPECT_NEAR(sum / count, 0.125, 6 * RandomTensor::kInt8Deviation / std::sqrt(count));
  EXPECT_NEAR(std::sqrt(squares / count), RandomTensor::kInt8Deviation,
              6 * RandomTensor::kInt8Deviation / std::sqrt(2 * count));
}

TEST(Synthesize, TinyIsSoundAndIndependentOfThreads) {
  const test::TemporaryFolder folder;
  SynthesizeOptions options{.config = *preset("tiny"), .name = "tiny", .out = folder.file("one.h5")};
  synthesize(options);
  options.out = folder.file("three.h5");
  options.num_threads = 3;
  synthesize(options);
  EXPECT_TRUE(test::read_file(folder.file("one.h5")) == test::read_file(folder.file("three.h5")));
  const io::StoreReader reader(folder.file("one.h5"), io::StoreReader::read_index(folder.file("one.h5")),
                               io::Verify::kFull);
  EXPECT_TRUE(reader.verify_all(1).empty());
  EXPECT_FALSE(reader.index().tokenizer);
}

TEST(Synthesize, PresetsAreTheReferenceWorkloads) {
  EXPECT_EQ(preset("mini")->emb_size, 1536);
  EXPECT_EQ(preset("slice")->ffn_size, 32768);
  EXPECT_FALSE(preset("huge"));
}

}  // namespace
}  // namespace moesaic::converters
