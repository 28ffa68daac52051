#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/file.hpp"
#include "io/store_index.hpp"
#include "io/tokenizer.hpp"

namespace moesaic::io {

/// How much of what is read is checked. Header and index always are.
enum class Verify : std::uint8_t {
  kFull,  ///< every byte of every piece read, and the file's structure
  kFast,  ///< samples of every piece read (the first 4 KiB of each 64 KiB), and the file's structure
  kOff,
};

std::optional<Verify> verify_from(std::string_view text);  ///< "full", "fast", "off"
std::string_view name(Verify verify);

/// Reads a store with plain positioned reads: no HDF5 call, since HDF5 1.10 crashes on malformed files and serialises
/// threads. All member functions may be called by several threads at once.
class StoreReader {
 public:
  /// One rank does this: opens the file and checks header and index, the structure too unless `verify` is kOff. Error:
  /// not a store, newer version, truncated, altered.
  static StoreIndex read_index(const std::string& path, Verify verify = Verify::kFull);

  StoreReader(const std::string& path, StoreIndex index, Verify verify);

  const StoreIndex& index() const { return index_; }
  const std::string& path() const { return file_.path(); }

  /// Fills `into`, whose size must be that of the piece. Error names file, tensor, piece and both hashes when they
  /// differ.
  void read_piece(const StoredTensor& tensor, std::int64_t piece, std::span<std::byte> into) const;

  /// Chunk of a piece: where it begins in the piece, and its bytes, valid during the call.
  using TakeChunk = std::function<void(std::int64_t offset_bytes, std::span<const std::byte> chunk)>;

  /// Reads a piece through `scratch` in ascending chunks whose sizes are multiples of `unit_bytes` (which divides the
  /// piece and is at most the scratch). Peak memory is the scratch. The hash is checked after the last chunk: what
  /// `take` has stored is good only when this returns.
  void stream_piece(const StoredTensor& tensor, std::int64_t piece, std::int64_t unit_bytes,
                    std::span<std::byte> scratch, const TakeChunk& take) const;

  /// The stored SentencePiece model, always checked against its hash; nullopt when the store has none.
  std::optional<std::string> tokenizer_bytes() const;
  /// Error when the store has none.
  Tokenizer tokenizer() const;

  /// Bytes of pieces read so far by all threads.
  std::int64_t bytes_read() const { return bytes_read_.load(std::memory_order_relaxed); }

  /// Reads everything with `num_threads` threads and returns one message a wrong piece (empty: the store is sound).
  /// `progress(bytes_done, bytes_total)` is called now and then, by one thread at a time.
  using Progress = std::function<void(std::int64_t bytes_done, std::int64_t bytes_total)>;
  std::vector<std::string> verify_all(int num_threads, const Progress& progress = {}) const;

 private:
  void check_hash(const StoredTensor& tensor, std::int64_t piece, Verify verify, const Hash128& found) const;

  File file_;
  StoreIndex index_;
  Verify verify_;
  mutable std::atomic<std::int64_t> bytes_read_{0};
};

}  // namespace moesaic::io
