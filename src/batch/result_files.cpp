#include "batch/result_files.hpp"

#include <algorithm>
#include <filesystem>
#include <span>

#include "base/error.hpp"

namespace moesaic::batch {
namespace {

namespace fs = std::filesystem;

bool exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

/// The file that a link names, there or not: two names of one output must find one journal.
std::string resolved(const std::string& path) {
  constexpr int kMaxLinks = 40;  // as the kernel
  std::error_code error;
  fs::path file = path;
  for (int i = 0; i < kMaxLinks && fs::is_symlink(file, error); ++i) file = file.parent_path() / fs::read_symlink(file);
  return file.string();
}

/// The journal's path, unless there is an output without one.
std::string journal_beside(const std::string& output_path) {
  std::string journal_path = journal_of(output_path);
  if (exists(output_path) && !exists(journal_path))
    fail("{}: exists, and no {} says what it is; move it away or give another output", output_path, journal_path);
  return journal_path;
}

/// Without the zeros at its end, which a power loss may leave where bytes were to be. No record has any.
std::int64_t written_bytes(io::FileWindow& output) {
  constexpr std::int64_t kStep_bytes = 1 << 16;
  std::int64_t end_bytes = output.size_bytes();
  while (end_bytes > 0) {
    const std::int64_t begin = std::max<std::int64_t>(0, end_bytes - kStep_bytes);
    const std::size_t last = output.at(begin, end_bytes - begin).find_last_not_of('\0');
    if (last != std::string_view::npos) return begin + static_cast<std::int64_t>(last) + 1;
    end_bytes = begin;
  }
  return 0;
}

[[noreturn]] void fail_altered(const std::string& output_path, std::int64_t at_bytes, const std::string& journal_path) {
  fail(
      "{}: is not what {} says from byte {} on: it was altered, or is another file. Move it away, and the same command "
      "writes it anew",
      output_path, journal_path, at_bytes);
}

/// Does what may fail while the job runs, and then says how it goes on.
template <class Work>
void resumably(Work&& work) {
  try {
    work();
  } catch (const Error& error) {
    fail("{}. What has finished is kept: once this is put right, the same command continues", error.what());
  }
}

}  // namespace

ResultFiles::ResultFiles(const std::string& output_path, const Identity& identity)
    : output_path_(resolved(output_path)), journal_(journal_beside(output_path_), identity) {
  if (complete())
    take_completed();
  else if (journal_.is_new())
    begin();
  else
    continue_from_journal();
}

void ResultFiles::begin() {
  if (exists(output_path_))
    fail("{}: exists, and {} is empty; move it away or give another output", output_path_, journal_.path());
  journal_.begin();
  output_ = io::File::create_new(output_path_);
  io::sync_folder_of(output_path_);
}

/// Replays the journal against the output as far as the output goes; the rest then waits to be appended.
void ResultFiles::continue_from_journal() {
  if (exists(output_path_)) output_ = io::File::open_for_writing(output_path_);
  std::optional<io::FileWindow> output;
  if (output_) output.emplace(*output_);
  const std::int64_t written = output ? written_bytes(*output) : 0;
  std::int64_t matched_bytes = 0;
  journal_.replay([&](const JournalPlace& place, const Finished& finished) {
    if (this->finished(finished.index))
      fail("{}: holds request {} twice; move it and the output away to begin anew", journal_.path(), finished.index);
    waiting_.emplace(finished.index, place);
    num_errors_ += finished.is_error;
    if (matched_bytes < written) matched_bytes = match_output(*output, written);
  });
  if (matched_bytes < written) fail_altered(output_path_, matched_bytes, journal_.path());
  journal_.drop_broken_end();
  if (!output_) output_ = io::File::create_new(output_path_);
  output_->resize(output_bytes_);
  io::sync_folder_of(output_path_);
  sync();
}

/// Accounts for the waiting requests that are in the output's first `written_bytes`. Returns how many of these are as
/// they should be so far: all of them once a record goes beyond.
std::int64_t ResultFiles::match_output(io::FileWindow& output, std::int64_t written_bytes) {
  while (next_waits() && output_bytes_ < written_bytes) {
    const Finished expected = journal_.read(waiting_.begin()->second);
    const std::string_view found =
        output.at(output_bytes_, std::min(std::ssize(expected.record), written_bytes - output_bytes_));
    const auto differs = std::ranges::mismatch(found, expected.record).in1;
    if (differs != found.end()) fail_altered(output_path_, output_bytes_ + (differs - found.begin()), journal_.path());
    if (found.size() < expected.record.size()) return written_bytes;
    account(expected);
  }
  return output_bytes_;
}

void ResultFiles::take_completed() {
  const Completed& completed = *journal_.completed();
  if (!exists(output_path_))
    fail("{}: is missing, though {} says that it is complete; put it back, or, to compute it anew, remove {}",
         output_path_, journal_.path(), journal_.path());
  const io::File file = io::File::open_for_reading(output_path_);
  io::FileWindow output(file);
  Hasher hasher;
  constexpr std::int64_t kStep_bytes = 1 << 18;
  for (std::int64_t at = 0; at < output.size_bytes(); at += kStep_bytes)
    hasher.update(std::as_bytes(std::span(output.at(at, kStep_bytes))));
  if (output.size_bytes() != completed.output_bytes || hasher.digest() != completed.output_hash)
    fail(
        "{}: was complete with {} bytes, XXH3-128 {}, and has {} bytes, {} now: it was altered. Restore it, or, to "
        "compute it anew, move it and {} away",
        output_path_, completed.output_bytes, completed.output_hash.hex(), output.size_bytes(), hasher.digest().hex(),
        journal_.path());
  num_in_output_ = completed.num_requests;
  num_errors_ = completed.num_errors;
}

void ResultFiles::put(const Finished& finished) {
  MOESAIC_CHECK(!complete() && finished.index >= 0 && !this->finished(finished.index), "request {}", finished.index);
  MOESAIC_CHECK(finished.record.ends_with('\n'), "request {}", finished.index);
  resumably([&] { waiting_.emplace(finished.index, journal_.append(finished)); });
  num_errors_ += finished.is_error;
}

void ResultFiles::sync() {
  if (!complete()) resumably([&] { sync_both(); });
}

bool ResultFiles::sync_if_due() {
  const auto now = std::chrono::steady_clock::now();
  if (now - last_sync_ < kJournalSyncInterval) return false;
  last_sync_ = now;
  sync();
  return true;
}

void ResultFiles::sync_both() {
  journal_.sync();
  if (!output_->is_at_its_path())
    fail(
        "{}: was removed or replaced while the job ran; move away what is there now, and the same command writes it "
        "anew from {}",
        output_path_, journal_.path());
  const std::int64_t before_bytes = output_bytes_;
  while (next_waits()) append_to_output(journal_.read(waiting_.begin()->second));
  if (output_bytes_ != before_bytes) output_->sync();
}

void ResultFiles::append_to_output(const Finished& finished) {
  output_->write_at(output_bytes_, std::as_bytes(std::span(finished.record)));
  account(finished);
}

/// The next request is in the output.
void ResultFiles::account(const Finished& finished) {
  output_hasher_.update(std::as_bytes(std::span(finished.record)));
  logits_hasher_.update(std::as_bytes(std::span(finished.logits_hash.bytes)));
  output_bytes_ += std::ssize(finished.record);
  ++num_in_output_;
  waiting_.erase(finished.index);
}

Hash128 ResultFiles::finish(std::int64_t num_requests) {
  if (!complete()) {
    sync();
    output_->sync();  // what an earlier start wrote too
    MOESAIC_CHECK(num_in_output_ == num_requests && waiting_.empty(), "{} of {} requests are in the output, {} wait",
                  num_in_output_, num_requests, waiting_.size());
    journal_.complete({num_requests, num_errors_, output_bytes_, output_hasher_.digest(), logits_hasher_.digest()});
  }
  MOESAIC_CHECK(num_requests == num_in_output_, "{} requests, {} in the output", num_requests, num_in_output_);
  return journal_.completed()->logits_hash;
}

}  // namespace moesaic::batch
