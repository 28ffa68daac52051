#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/hash.hpp"
#include "io/file.hpp"

namespace moesaic::batch {

/// Everything that a batch's results depend on, as (name, value), e.g. {"input", "requests.jsonl: 1234 bytes, xxh3
/// ..."},
/// {"store",
/// ...}, {"numerics", "w8a16"}, {"seed", "0"}. Names are unique; no NUL bytes.
using Identity = std::vector<std::pair<std::string, std::string>>;

/// One finished request.
struct Finished {
  std::int64_t index = 0;
  std::string record;  ///< its whole output lines, with "\n"
  Hash128 logits_hash;
  bool is_error = false;
};

/// Content of a journal once all requests are finished and in the output.
struct Completed {
  std::int64_t num_requests = 0, num_errors = 0;
  std::int64_t output_bytes = 0;
  Hash128 output_hash, logits_hash;
};

/// Facts in a journal about its batch as a whole.
struct JournalFacts {
  Identity identity;
  std::optional<Completed> completed;
};
/// Reads them, whoever writes the journal meanwhile. Error when it is no journal, or damaged.
JournalFacts read_facts(const std::string& path);
/// The name of an output's journal.
std::string journal_of(const std::string& output_path);

/// Where a result begins in the journal, and its position in it.
struct JournalPlace {
  std::int64_t offset_bytes = 0, position = 0;
};

/// The file of what has finished, in any order: the identity, then a checked frame a result (batch/journal_frame.hpp).
/// A frame says how much of the journal was synced before it. A broken end that no later frame calls synced is what a
/// crash or a power loss leaves: it is dropped. A broken frame that was safe once is damage, and refused.
class Journal {
 public:
  /// Opens the journal, or an empty one, and locks it until the end of this object. Error, and nothing is changed, when
  /// another job holds it, or it is of another identity (names the facts that differ), damaged or no journal.
  Journal(std::string path, const Identity& identity);

  const std::string& path() const { return file_.path(); }
  bool is_new() const { return is_new_; }  ///< nothing is in it yet: begin() it
  const std::optional<Completed>& completed() const { return completed_; }

  /// Writes and syncs the identity.
  void begin();
  /// Calls `visit` with all results in the order they were appended, streaming. Error when the journal is damaged.
  void replay(const std::function<void(const JournalPlace&, const Finished&)>& visit);
  /// Cuts off the broken end that replay() found, if any, and syncs.
  void drop_broken_end();

  /// Error, and the end as it was, when it cannot be written.
  JournalPlace append(const Finished& finished);
  Finished read(const JournalPlace& place) const;
  /// Makes safe what was appended. Error when it cannot be known to be: then also when the file was removed or
  /// replaced meanwhile (its content is saved before).
  void sync();
  /// Replaces the journal, all at once, by one without results.
  void complete(const Completed& completed);

 private:
  bool is_unborn() const;
  void check_identity(const Identity& identity) const;
  void read_completed();
  void write_at_end(std::string_view bytes);
  void check_in_place();
  [[noreturn]] void break_off(std::string message);

  io::File file_;
  std::string identity_frame_;
  Hash128 seed_;  // of the frames after the identity
  bool is_new_ = false;
  std::optional<Completed> completed_;
  std::int64_t end_bytes_ = 0, synced_bytes_ = 0;
  std::int64_t num_frames_ = 1;
  std::string broken_;  // what happened that leaves nothing to rely on; empty: nothing
};

}  // namespace moesaic::batch
