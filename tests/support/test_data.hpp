#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

/// Where tests find checkpoints, goldens and the stores that the fixture `stores` has converted.
namespace moesaic::test {

inline std::filesystem::path shared_folder() {
  const char* elsewhere = std::getenv("MOESAIC_SHARED_DIR");
  return elsewhere ? elsewhere : MOESAIC_SHARED;
}

/// The folder of a golden: shipped, or in ../shared; empty when it is not there.
inline std::filesystem::path golden(const std::string& name) {
  const std::filesystem::path shipped = std::filesystem::path(MOESAIC_TEST_DATA) / name;
  if (std::filesystem::exists(shipped / "config.json")) return shipped;
  const std::filesystem::path shared = shared_folder() / "goldens" / name;
  return std::filesystem::exists(shared / "config.json") ? shared : std::filesystem::path();
}

/// The converted store of a golden.
inline std::string store(const std::string& name) {
  return (std::filesystem::path(MOESAIC_TEST_STORES) / (name + ".h5")).string();
}

}  // namespace moesaic::test
