#include "batch/line_reader.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <span>

#include "base/error.hpp"
#include "batch/json_line.hpp"

namespace moesaic::batch {
namespace {

constexpr std::int64_t kBuffer_bytes = 1 << 20;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

bool is_blank(std::string_view line) {
  return line.size() <= kLargestLine_bytes && line.find_first_not_of(" \t\r") == std::string_view::npos;
}

}  // namespace

LineReader::LineReader(const std::string& path, LinePlace start)
    : file_(io::File::open_for_reading(path)), size_bytes_(file_.size_bytes()), place_(start) {
  if (place_.offset_bytes < 0 || place_.offset_bytes > size_bytes_)
    fail("{}: has {} bytes, expected at least {}: it is not the file that was read before", path, size_bytes_,
         place_.offset_bytes);
  if (place_.offset_bytes == 0 && fill() &&
      std::string_view(buffer_.data(), buffer_.size()).starts_with(kByteOrderMark))
    place_.offset_bytes = std::ssize(kByteOrderMark);
}

/// Makes the byte at place_ the buffer's, if it is not; false at the end of the file.
bool LineReader::fill() {
  const std::int64_t offset = place_.offset_bytes;
  if (offset >= size_bytes_) return false;
  if (offset >= buffer_offset_bytes_ && offset < buffer_offset_bytes_ + std::ssize(buffer_)) return true;
  buffer_.resize(static_cast<std::size_t>(std::min(kBuffer_bytes, size_bytes_ - offset)));
  buffer_offset_bytes_ = offset;
  file_.read_at(offset, std::as_writable_bytes(std::span(buffer_)));
  return true;
}

std::string LineReader::take_line() {
  std::string line;
  for (bool ended = false; !ended && fill();) {
    const char* begin = buffer_.data() + (place_.offset_bytes - buffer_offset_bytes_);
    const auto num_left = static_cast<std::size_t>(buffer_.data() + buffer_.size() - begin);
    const auto* end = static_cast<const char*>(std::memchr(begin, '\n', num_left));
    ended = end != nullptr;
    const std::size_t size = ended ? static_cast<std::size_t>(end - begin) : num_left;
    line.append(begin, std::min(size, kLargestLine_bytes + 1 - line.size()));
    place_.offset_bytes += static_cast<std::int64_t>(size) + ended;
  }
  ++place_.number;
  if (line.size() <= kLargestLine_bytes && line.ends_with('\r')) line.pop_back();
  return line;
}

std::optional<InputLine> LineReader::next() {
  while (fill()) {
    const LinePlace place = place_;
    std::string line = take_line();
    if (is_blank(line)) continue;
    ++place_.index;
    return InputLine{place, std::move(line)};
  }
  return std::nullopt;
}

LineFormat choose_format(const std::string& option, const std::string& path) {
  if (option == "jsonl") return LineFormat::kJson;
  if (option == "text") return LineFormat::kText;
  if (option != "auto") fail("--format is '{}', expected auto, jsonl or text", option);
  const std::string extension = std::filesystem::path(path).extension();
  if (extension == ".jsonl" || extension == ".ndjson" || extension == ".json") return LineFormat::kJson;
  if (extension == ".txt") return LineFormat::kText;
  const auto first = LineReader(path).next();
  const std::size_t begin = first ? first->text.find_first_not_of(" \t") : std::string::npos;
  return begin != std::string::npos && first->text[begin] == '{' ? LineFormat::kJson : LineFormat::kText;
}

}  // namespace moesaic::batch
