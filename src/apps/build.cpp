#include "apps/build.hpp"

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "io/mapped_file.hpp"

namespace moesaic::apps {

namespace {

std::string read_build() {
  try {
    const io::MappedFile binary("/proc/self/exe");
    return fmt::format("moesaic {}, build {}", MOESAIC_VERSION, hash_bytes(binary.bytes()).hex().substr(0, 12));
  } catch (const Error&) {  // may be executed, but not read
    return "moesaic " MOESAIC_VERSION;
  }
}

}  // namespace

const std::string& build() {
  static const std::string text = read_build();
  return text;
}

}  // namespace moesaic::apps
