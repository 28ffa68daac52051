#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/hash.hpp"
#include "batch/journal.hpp"
#include "io/file.hpp"
#include "io/file_window.hpp"

namespace moesaic::batch {

/// How often the journal of a running batch is made safe on the disk (fsync): the most work that a power loss undoes.
inline constexpr std::chrono::seconds kJournalSyncInterval{1};

/// The output of a batch in input order, and beside it a journal (OUTPUT.journal) of what has finished in any order.
/// The output gets only what is safe in the journal, so after a power loss too it is a beginning of what the journal
/// gives, except for bytes that the file system lost; these are written again. An Error from any of it leaves both
/// files such that the same command continues once its reason is gone; this object is of no more use then.
class ResultFiles {
 public:
  /// Begins, or continues what an earlier start left; a link to a file stands for the file. Error, and nothing is
  /// touched, when the journal is of another identity (names each fact that differs) or damaged, when the output exists
  /// without a journal or differs from what the journal gives, or when another job holds them.
  ResultFiles(const std::string& output_path, const Identity& identity);

  /// An earlier start, or finish(), came to the end.
  bool complete() const { return journal_.completed().has_value(); }
  bool finished(std::int64_t index) const { return index < num_in_output_ || waiting_.contains(index); }
  std::int64_t num_finished() const { return num_in_output_ + std::ssize(waiting_); }
  std::int64_t num_errors() const { return num_errors_; }
  /// The requests before this one are in the output: those that were next in order at the last sync().
  std::int64_t num_in_output() const { return num_in_output_; }

  /// Appends to the journal, at once but not safe yet. The request must not have finished before.
  void put(const Finished& finished);
  /// Makes all that was put safe, and appends to the output what is next in order.
  void sync();
  /// Calls sync() when kJournalSyncInterval has passed since it did so last; true if it did.
  bool sync_if_due();
  /// All `num_requests` are finished: the output is whole and safe, and the journal is replaced by a small one that
  /// knows both by their hashes. Returns the run's logits hash (engine/run_hash.hpp); again when complete() already.
  Hash128 finish(std::int64_t num_requests);

 private:
  void begin();
  void continue_from_journal();
  std::int64_t match_output(io::FileWindow& output, std::int64_t written_bytes);
  bool next_waits() const { return !waiting_.empty() && waiting_.begin()->first == num_in_output_; }
  void take_completed();
  void sync_both();
  void append_to_output(const Finished& finished);
  void account(const Finished& finished);

  std::string output_path_;
  Journal journal_;
  std::optional<io::File> output_;                // none when complete
  std::map<std::int64_t, JournalPlace> waiting_;  // finished and not in the output, by index
  std::int64_t num_in_output_ = 0, num_errors_ = 0;
  std::int64_t output_bytes_ = 0;  // of the requests in the output
  Hasher output_hasher_, logits_hasher_;
  std::chrono::steady_clock::time_point last_sync_ = std::chrono::steady_clock::now();
};

}  // namespace moesaic::batch
