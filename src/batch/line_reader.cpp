#include "batch/line_reader.hpp"

#include <algorithm>
#include <cstring>
#include <span>

#include "base/error.hpp"
#include "io/foreign_format.hpp"
#include "openai/json_line.hpp"

namespace moesaic::batch {
namespace {

constexpr std::int64_t kBuffer_bytes = 1 << 20;
constexpr std::size_t kSeenOfFirstLine_bytes = 256;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

bool is_blank(std::string_view line) {
  return line.size() <= openai::kLargestLine_bytes && line.find_first_not_of(" \t\r") == std::string_view::npos;
}

}  // namespace

FileContent content_of(const std::string& path, const std::function<void(const InputLine&)>& visit) {
  FileContent content;
  std::error_code no_such_file;                                             // the reader says so
  content.modified = std::filesystem::last_write_time(path, no_such_file);  // what changes from now on is noticed
  LineReader reader(path);
  while (const auto line = reader.next())
    if (visit) visit(*line);
  content.size_bytes = reader.size_bytes_;
  content.num_lines = reader.place_.index;
  content.hash = reader.hasher_.digest();
  content.pieces = std::move(reader.pieces_);
  return content;
}

LineReader::LineReader(const std::string& path, const FileContent* expected)
    : file_(io::File::open_for_reading(path)), expected_(expected), size_bytes_(file_.size_bytes()) {
  check_unchanged();
  if (!fill()) return;
  const std::string_view begin(buffer_.data(), buffer_.size());
  io::require_text(begin, path);
  if (begin.starts_with(kByteOrderMark)) place_.offset_bytes = std::ssize(kByteOrderMark);
}

void LineReader::check_unchanged() const {
  if (!expected_) return;
  std::error_code error;
  const auto modified = std::filesystem::last_write_time(file_.path(), error);
  const bool is_same = !error && file_.is_at_its_path() && file_.size_bytes() == expected_->size_bytes &&
                       modified == expected_->modified;
  if (!is_same) fail_changed();
}

void LineReader::fail_changed() const {
  fail(
      "{}: was changed, replaced or removed while the job ran; it had {} bytes, XXH3-128 {}. All results so far are of "
      "the file as it was: put that back, and the same command continues; to begin anew with another input, move the "
      "output and its journal away",
      file_.path(), expected_->size_bytes, expected_->hash.hex());
}

/// Makes the byte at place_ the buffer's, if it is not; false at the end of the file. A piece follows another, so their
/// numbers and bounds are the same whenever the file is read.
bool LineReader::fill() {
  const std::int64_t offset = place_.offset_bytes;
  if (offset >= size_bytes_) return false;
  if (offset >= buffer_offset_bytes_ && offset < buffer_offset_bytes_ + std::ssize(buffer_)) return true;
  buffer_.resize(static_cast<std::size_t>(std::min(kBuffer_bytes, size_bytes_ - offset)));
  buffer_offset_bytes_ = offset;
  check_unchanged();
  const auto bytes = std::as_writable_bytes(std::span(buffer_));
  file_.read_at(offset, bytes);
  pieces_.push_back(hash_bytes(bytes));
  if (!expected_)
    hasher_.update(bytes);
  else if (pieces_.back() != expected_->pieces.at(pieces_.size() - 1))
    fail_changed();
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
    line.append(begin, std::min(size, openai::kLargestLine_bytes + 1 - line.size()));
    place_.offset_bytes += static_cast<std::int64_t>(size) + ended;
  }
  ++place_.number;
  if (line.size() <= openai::kLargestLine_bytes && line.ends_with('\r')) line.pop_back();
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

openai::LineFormat guess_format(const std::string& path) {
  std::string extension = std::filesystem::path(path).extension();
  std::ranges::transform(extension, extension.begin(), [](unsigned char c) { return std::tolower(c); });
  if (extension == ".jsonl" || extension == ".ndjson" || extension == ".json") return openai::LineFormat::kJson;
  if (extension == ".txt") return openai::LineFormat::kText;
  if (extension == ".csv" || extension == ".tsv")
    fail("{}: is named as a table, expected a request a line in JSON; if each line is a prompt, give --format text",
         path);
  const auto first = LineReader(path).next();
  std::string begin;  // without spaces
  for (const char c : first ? std::string_view(first->text).substr(0, kSeenOfFirstLine_bytes) : std::string_view())
    if (c != ' ' && c != '\t' && c != '\r') begin += c;
  return begin.starts_with('{') || begin.starts_with("[{") || begin == "[" ? openai::LineFormat::kJson
                                                                           : openai::LineFormat::kText;
}

}  // namespace moesaic::batch
