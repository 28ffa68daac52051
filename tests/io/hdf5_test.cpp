#include "io/hdf5.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "expect_error.hpp"
#include "temporary_folder.hpp"

namespace moesaic::io {
namespace {

TEST(Hdf5, RowsOfMatricesAndStacks) {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("out.h5");
  {
    auto file = Hdf5File::create(path);
    auto logits = file.create_dataset<float>("/seq0/logits", {3, 2});
    auto hidden = file.create_dataset<float>("/seq0/hidden", {2, 3, 2});
    auto experts = file.create_dataset<std::int32_t>("/seq0/experts", {1, 3, 2});
    const std::vector<float> rows{1, 2, 3, 4}, row{5, 6};
    logits.write_rows<float>({1}, rows);
    logits.write_rows<float>({0}, row);
    hidden.write_rows<float>({1, 0}, rows);
    hidden.write_rows<float>({1, 2}, row);
    hidden.write_rows<float>({0}, std::vector<float>(6, 9.0f));
    experts.write_rows<std::int32_t>({0, 0}, std::vector<std::int32_t>{6, 5, 4, 3, 2, 1});
    EXPECT_THROW(logits.write_rows<float>({2}, rows), std::logic_error);
    EXPECT_THROW(logits.write_rows<float>({0}, std::vector<float>(3)), std::logic_error);
    file.close();
  }
  const auto file = Hdf5File::open(path);
  EXPECT_EQ(file.read<float>("/seq0/logits").values, (std::vector<float>{5, 6, 1, 2, 3, 4}));
  EXPECT_EQ(file.read<float>("/seq0/hidden").values, (std::vector<float>{9, 9, 9, 9, 9, 9, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(file.read<std::int32_t>("seq0/experts").shape, (std::vector<std::int64_t>{1, 3, 2}));
  EXPECT_EQ(file.members("/seq0"), (std::vector<std::string>{"experts", "hidden", "logits"}));
  EXPECT_TRUE(file.contains("/seq0/logits"));
  EXPECT_FALSE(file.contains("/seq1/logits"));
  EXPECT_ERROR((void)file.read<float>("/seq0/absent"), "absent: H5Dopen2 failed");
}

TEST(Hdf5, ReadsGoldens) {
  const auto file = Hdf5File::open(MOESAIC_TEST_DATA "/tiny/golden.h5");
  const auto tokens = file.read<std::int32_t>("/seq0/tokens");
  EXPECT_EQ(file.read<float>("/seq0/logits_f32").shape, (std::vector<std::int64_t>{tokens.shape[0], 512}));
}

TEST(Hdf5, FailuresAreErrors) {
  EXPECT_ERROR((void)Hdf5File::create("/absent/folder/out.h5"), "/absent/folder/out.h5");
  EXPECT_ERROR((void)Hdf5File::open("/absent.h5"), "H5Fopen failed");
  EXPECT_ERROR((void)Hdf5File::open(MOESAIC_TEST_DATA "/tiny/config.json"), "config.json");
}

/// A full disk, as `ulimit -f` imitates it: an Error, and no crash when the process ends.
TEST(Hdf5, AFullDiskIsAnError) {
  const test::TemporaryFolder folder;
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{20'000, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string message = test::error_of([&] {
    auto file = Hdf5File::create(folder.file("out.h5"));
    auto dataset = file.create_dataset<float>("/seq0/logits", {100, 100});
    dataset.write_rows<float>({0}, std::vector<float>(10'000, 1.0f));
    file.close();
  });
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_NE(message.find("out.h5"), std::string::npos) << message;
}

}  // namespace
}  // namespace moesaic::io
