#include "io/foreign_format.hpp"

#include <gtest/gtest.h>

#include "expect_error.hpp"

namespace moesaic::io {
namespace {

using namespace std::string_literals;

TEST(ForeignFormat, IsNamedWithItsRemedy) {
  const std::pair<std::string, const char*> cases[] = {
      {"\xFF\xFE{\0\"\0"s,
       "in.jsonl: is in UTF-16, expected text in UTF-8: convert it first, with 'iconv -f UTF-16 -t UTF-8'"},
      {"\xFE\xFF\0{"s, "UTF-16"},
      {"{\0\"\0p\0"s, "iconv -f UTF-16LE"},
      {"\0{\0\""s, "iconv -f UTF-16BE"},
      {"\xFF\xFE\0\0{\0\0\0"s, "iconv -f UTF-32"},
      {"\x1F\x8B\x08\0"s, "compressed by gzip, expected text in UTF-8: convert it first, with 'gunzip'"},
      {"\x28\xB5\x2F\xFD$"s, "unzstd"},
      {"\xFD\x37zXZ\0\0"s, "unxz"},
      {"BZh91AY&SY\xAA"s, "bunzip2"},
      {"\x04\x22\x4D\x18@"s, "unlz4"},
      {"PK\3\4\x14"s, "a ZIP archive"},
      {std::string(257, 'x') + "ustar\0"s, "a tar archive"},
      {"\x89HDF\r\n\x1A\n"s, "an HDF5 file, expected text in UTF-8: give a text, or lines of JSON"},
      {"PAR1\x15\x04"s, "a Parquet file"},
      {"\x93MOESAIC\r\n"s, "a Moesaic store"},
      {"weights" + std::string(40, '\1') + std::string(700, '\xB0'), "a binary file"},
  };
  for (const auto& [begin, expected] : cases) EXPECT_ERROR(require_text(begin, "in.jsonl"), expected);
}

TEST(ForeignFormat, TextsPass) {
  for (const std::string& text : {""s, "\n"s, "{\"prompt\": \"a\"}\n"s, "\xEF\xBB\xBF{"s, "BZh5 is a chord"s,
                                  "PAR1 and PK"s, "a\0b"s, "caf\xE9"s, std::string(400, 'u'), "\x1B[1mbold\x1B[0m\f\n"s,
                                  std::string(16, '\0'), std::string(17, '\0') + std::string(400, 'u')})
    EXPECT_NO_THROW(require_text(text, "in.txt"));
}

}  // namespace
}  // namespace moesaic::io
