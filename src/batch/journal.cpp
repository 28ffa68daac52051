#include "batch/journal.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <span>

#include "base/error.hpp"
#include "base/log.hpp"
#include "batch/journal_frame.hpp"
#include "io/file_window.hpp"

namespace moesaic::batch {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kVersion = "moesaic batch journal 1\n";
constexpr std::string_view kAnew = "to begin anew, move it and its output away";

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string encode(const Identity& identity) {
  std::string body(kVersion);
  for (const auto& [name, value] : identity) {
    MOESAIC_CHECK((name + value).find('\0') == std::string::npos, "{}={}", name, value);
    body.append(name).push_back('\0');
    body.append(value).push_back('\0');
  }
  return body;
}

std::string_view take_text(std::string_view& body) {
  const std::string_view text = body.substr(0, body.find('\0'));
  body.remove_prefix(std::min(body.size(), text.size() + 1));
  return text;
}

Identity decode(std::string_view body) {
  body.remove_prefix(kVersion.size());
  Identity identity;
  while (!body.empty()) {
    const std::string_view name = take_text(body);
    identity.emplace_back(name, take_text(body));
  }
  return identity;
}

std::string value_of(const Identity& identity, const std::string& name) {
  const auto fact = std::ranges::find(identity, name, &Identity::value_type::first);
  return fact == identity.end() ? "nothing" : fmt::format("'{}'", fact->second);
}

bool is_result(FrameKind kind) { return kind == FrameKind::kResult || kind == FrameKind::kErrorResult; }

/// One line a fact that differs.
std::string differences(const Identity& begun, const Identity& now) {
  std::string lines;
  const auto compare = [&](const std::string& name) {
    if (value_of(begun, name) != value_of(now, name))
      lines += fmt::format("\n  {}: begun with {}, now {}", name, value_of(begun, name), value_of(now, name));
  };
  for (const auto& [name, value] : now) compare(name);
  for (const auto& [name, value] : begun)
    if (value_of(now, name) == "nothing") compare(name);
  return lines;
}

/// The file that has the path's name once it is locked: another job may end, and replace it, in between.
io::File open_locked(const std::string& path) {
  while (true) {
    io::File file = io::File::open_or_create(path);
    const auto lock = file.try_lock();
    if (lock == io::File::Lock::kHeldByAnother)
      fail("{}: another job writes this output now; wait for its end or give another output", path);
    if (!file.is_at_its_path()) continue;
    if (lock == io::File::Lock::kUnsupported)
      spdlog::warn("{}: the file system has no locks; see to it that no other job writes this output", path);
    return file;
  }
}

/// The first frame. Error when there is none of this version.
Frame read_identity(io::FileWindow& window, const std::string& path) {
  const FrameHead expected;
  if (!window.at(0, expected.magic.size()).starts_with(std::string_view(expected.magic.data(), expected.magic.size())))
    fail("{}: is no journal of a batch; {}", path, kAnew);
  const auto frame = read_frame(window, 0, 0, Hash128{});
  if (!frame || frame->head.kind != FrameKind::kIdentity)
    fail("{}: is damaged at byte 0; restore it from a copy, or, {}", path, kAnew);
  if (!frame->body.starts_with(kVersion))
    fail("{}: was written by another version of Moesaic ('{}', expected '{}'); continue with that one, or, {}", path,
         frame->body.substr(0, frame->body.find('\n')), kVersion.substr(0, kVersion.size() - 1), kAnew);
  return *frame;
}

/// The frame behind the identity, when it says that the batch is complete.
std::optional<Completed> completed_in(io::FileWindow& window, std::int64_t identity_bytes, const Hash128& seed) {
  const auto frame = read_frame(window, identity_bytes, 1, seed);
  if (!frame || frame->head.kind != FrameKind::kCompleted || frame->body.size() != sizeof(Completed)) return {};
  Completed completed;
  std::memcpy(&completed, frame->body.data(), sizeof completed);
  return completed;
}

io::File copy_to_new(const io::File& from, std::int64_t size_bytes, const std::string& path) {
  constexpr std::int64_t kPart_bytes = 1 << 18;
  io::File to = io::File::create_new(path);
  io::FileWindow window(from);
  for (std::int64_t offset = 0; offset < size_bytes; offset += kPart_bytes)
    to.write_at(offset, bytes_of(window.at(offset, std::min(kPart_bytes, size_bytes - offset))));
  to.sync();
  io::sync_folder_of(path);
  return to;
}

}  // namespace

std::string journal_of(const std::string& output_path) { return output_path + ".journal"; }

JournalFacts read_facts(const std::string& path) {
  const io::File file = io::File::open_for_reading(path);
  io::FileWindow window(file);
  JournalFacts facts{decode(read_identity(window, path).body), {}};
  const std::string frame = encode_frame({.kind = FrameKind::kIdentity}, encode(facts.identity), Hash128{});
  facts.completed = completed_in(window, std::ssize(frame), hash_bytes(bytes_of(frame)));
  return facts;
}

Journal::Journal(std::string path, const Identity& identity)
    : file_(open_locked(path)),
      identity_frame_(encode_frame({.kind = FrameKind::kIdentity}, encode(identity), Hash128{})),
      seed_(hash_bytes(bytes_of(identity_frame_))),
      end_bytes_(std::ssize(identity_frame_)) {
  is_new_ = is_unborn();
  if (is_new_) return;
  check_identity(identity);
  read_completed();
}

/// Whether it ended while its identity was being written: before anything depended on it.
bool Journal::is_unborn() const {
  io::FileWindow window(file_);
  if (window.size_bytes() > end_bytes_) return false;
  const std::string_view content = window.at(0, end_bytes_);
  const bool is_cut = content.size() < identity_frame_.size() && identity_frame_.starts_with(content);
  return is_cut || content.find_first_not_of('\0') == std::string_view::npos;
}

void Journal::check_identity(const Identity& identity) const {
  io::FileWindow window(file_);
  const Frame frame = read_identity(window, path());
  if (frame.body != encode(identity))
    fail("{}: belongs to another batch:{}\nTo continue it, give what it was begun with; {}", path(),
         differences(decode(frame.body), identity), kAnew);
}

void Journal::read_completed() {
  io::FileWindow window(file_);
  completed_ = completed_in(window, end_bytes_, seed_);
}

void Journal::begin() {
  file_.resize(0);
  file_.write_at(0, bytes_of(identity_frame_));
  sync();
  io::sync_folder_of(path());
  is_new_ = false;
}

void Journal::replay(const std::function<void(const JournalPlace&, const Finished&)>& visit) {
  io::FileWindow window(file_);
  for (; end_bytes_ < window.size_bytes(); ++num_frames_) {
    const auto frame = read_frame(window, end_bytes_, num_frames_, seed_);
    if (!frame || !is_result(frame->head.kind)) break;
    const FrameHead& head = frame->head;
    visit({end_bytes_, num_frames_},
          {head.index, std::string(frame->body), head.logits_hash, head.kind == FrameKind::kErrorResult});
    end_bytes_ += frame->size_bytes();
  }
  if (was_synced_beyond(window, end_bytes_, seed_))
    fail(
        "{0}: is damaged at byte {1} (results that were safe follow); restore it from a copy, or, to compute again "
        "what "
        "is lost, `truncate -s {1} {0}`, move the output away and give the same command",
        path(), end_bytes_);
}

void Journal::drop_broken_end() {
  if (const std::int64_t broken_bytes = file_.size_bytes() - end_bytes_; broken_bytes > 0) {
    spdlog::warn("{}: its last {} bytes are broken, as a crash leaves them; they are computed again", path(),
                 broken_bytes);
    file_.resize(end_bytes_);
  }
  sync();
}

JournalPlace Journal::append(const Finished& finished) {
  if (!broken_.empty()) throw Error(broken_);
  const JournalPlace place{end_bytes_, num_frames_};
  const std::string frame = encode_frame({.kind = finished.is_error ? FrameKind::kErrorResult : FrameKind::kResult,
                                          .position = place.position,
                                          .synced_bytes = synced_bytes_,
                                          .index = finished.index,
                                          .logits_hash = finished.logits_hash},
                                         finished.record, seed_);
  write_at_end(frame);
  end_bytes_ += std::ssize(frame);
  ++num_frames_;
  return place;
}

void Journal::write_at_end(std::string_view bytes) {
  try {
    file_.write_at(end_bytes_, bytes_of(bytes));
  } catch (const Error&) {
    try {
      file_.resize(end_bytes_);
    } catch (const Error&) {  // then a broken end is left, which is dropped at the next start
    }
    throw;
  }
}

Finished Journal::read(const JournalPlace& place) const {
  FrameHead head;
  const auto head_bytes = std::as_writable_bytes(std::span(&head, 1));
  file_.read_at(place.offset_bytes, head_bytes);
  const bool is_sane = is_whole(head, seed_) && head.position == place.position;
  std::string record(is_sane ? static_cast<std::size_t>(head.body_bytes) : 0, '\0');
  file_.read_at(place.offset_bytes + std::ssize(head_bytes), std::as_writable_bytes(std::span(record)));
  if (!is_sane || hash_bytes(bytes_of(record)) != head.body_hash)
    fail("{}: was changed at byte {} while the job runs; nobody else may write it", path(), place.offset_bytes);
  return {head.index, std::move(record), head.logits_hash, head.kind == FrameKind::kErrorResult};
}

void Journal::sync() {
  if (!broken_.empty()) throw Error(broken_);
  check_in_place();
  if (synced_bytes_ == end_bytes_) return;
  try {
    file_.sync();
  } catch (const Error& error) {
    // A second fsync may succeed though the data are lost: nothing more is written after this one.
    break_off(error.what());
  }
  synced_bytes_ = end_bytes_;
}

void Journal::check_in_place() {
  if (file_.is_at_its_path()) return;
  std::error_code ignored;
  const bool is_replaced = fs::exists(path(), ignored);
  const std::string saved = is_replaced ? path() + ".saved" : path();
  copy_to_new(file_, end_bytes_, saved);
  break_off(fmt::format("{}: was {} while the job ran; what it held is in {} now{}", path(),
                        is_replaced ? "replaced" : "removed", saved,
                        is_replaced ? ": put it back in its place to continue" : ""));
}

void Journal::break_off(std::string message) {
  broken_ = std::move(message);
  throw Error(broken_);
}

void Journal::complete(const Completed& completed) {
  if (!broken_.empty()) throw Error(broken_);
  const std::string_view body(reinterpret_cast<const char*>(&completed), sizeof(Completed));
  const std::string content =
      identity_frame_ + encode_frame({.kind = FrameKind::kCompleted, .position = 1}, body, seed_);
  const std::string next_path = path() + ".next";
  {
    const io::File next = io::File::open_or_create(next_path);
    next.resize(0);  // of an end that came to nothing
    next.write_at(0, bytes_of(content));
    next.sync();
  }
  check_in_place();
  if (std::rename(next_path.c_str(), path().c_str()) != 0)
    fail("{}: cannot be renamed to {}: {}", next_path, path(), std::strerror(errno));
  io::sync_folder_of(path());
  completed_ = completed;
}

}  // namespace moesaic::batch
