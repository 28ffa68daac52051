#include "io/foreign_format.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace moesaic::io {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kSeen_bytes = 4096;

/// How files of a kind are known, and what to do with one.
struct Format {
  std::string_view begin;  // bytes at `offset`
  std::string_view name, remedy;
  std::size_t offset = 0;
};

// UTF-32's mark begins with UTF-16's, so it comes first.
constexpr Format kFormats[] = {
    {"\xFF\xFE\0\0"sv, "in UTF-32", "iconv -f UTF-32 -t UTF-8"},
    {"\0\0\xFE\xFF"sv, "in UTF-32", "iconv -f UTF-32 -t UTF-8"},
    {"\xFF\xFE"sv, "in UTF-16", "iconv -f UTF-16 -t UTF-8"},
    {"\xFE\xFF"sv, "in UTF-16", "iconv -f UTF-16 -t UTF-8"},
    {"\x1F\x8B"sv, "compressed by gzip", "gunzip"},
    {"\x28\xB5\x2F\xFD"sv, "compressed by zstd", "unzstd"},
    {"\xFD"
     "7zXZ\0"sv,
     "compressed by xz", "unxz"},
    {"1AY&SY"sv, "compressed by bzip2", "bunzip2", 4},
    {"\x04\x22\x4D\x18"sv, "compressed by lz4", "unlz4"},
    {"LZIP\1"sv, "compressed by lzip", "lzip -d"},
    {"PK\3\4"sv, "a ZIP archive", "unzip"},
    {"7z\xBC\xAF\x27\x1C"sv, "a 7z archive", "7z x"},
    {"ustar"sv, "a tar archive", "tar -xf", 257},
    {"\x93MOESAIC"sv, "a Moesaic store", ""},
    {"\x89HDF\r\n\x1A\n"sv, "an HDF5 file", ""},
    {"PAR1\x15"sv, "a Parquet file", ""},
    {"ARROW1\0"sv, "an Arrow file", ""},
    {"Obj\1"sv, "an Avro file", ""},
    {"SQLite format 3\0"sv, "an SQLite database", ""},
    {"\x93NUMPY"sv, "a NumPy array", ""},
    {"GGUF\3\0"sv, "a GGUF file", ""},
    {"\x7F"
     "ELF"sv,
     "a program", ""},
    {"%PDF-1."sv, "a PDF", ""},
};

[[noreturn]] void refuse(const std::string& path, std::string_view name, std::string_view remedy) {
  fail("{}: is {}, expected text in UTF-8: {}", path, name,
       remedy.empty() ? "give a text, or lines of JSON" : fmt::format("convert it first, with '{}'", remedy));
}

/// Two characters of one byte each in UTF-16, which no text in UTF-8 begins with.
void refuse_unmarked_utf16(std::string_view begin, const std::string& path) {
  if (begin.size() < 4) return;
  const auto is_zero = [&](std::size_t i) { return begin[i] == '\0'; };
  if (!is_zero(0) && is_zero(1) && !is_zero(2) && is_zero(3)) refuse(path, "in UTF-16", "iconv -f UTF-16LE -t UTF-8");
  if (is_zero(0) && !is_zero(1) && is_zero(2) && !is_zero(3)) refuse(path, "in UTF-16", "iconv -f UTF-16BE -t UTF-8");
}

/// Control characters that texts have none or few of, more than one in twenty.
void refuse_binary(std::string_view begin, const std::string& path) {
  constexpr std::string_view kOfTexts = "\t\n\v\f\r\x1B";
  constexpr std::ptrdiff_t kFew = 16, kShare = 20;
  const auto num_controls = std::ranges::count_if(
      begin, [&](char c) { return static_cast<unsigned char>(c) < ' ' && kOfTexts.find(c) == std::string_view::npos; });
  if (num_controls > kFew && num_controls * kShare > std::ssize(begin)) refuse(path, "a binary file", "");
}

}  // namespace

void require_text(std::string_view begin, const std::string& path) {
  for (const Format& format : kFormats)
    if (begin.size() > format.offset && begin.substr(format.offset).starts_with(format.begin))
      refuse(path, format.name, format.remedy);
  refuse_unmarked_utf16(begin, path);
  refuse_binary(begin.substr(0, kSeen_bytes), path);
}

}  // namespace moesaic::io
