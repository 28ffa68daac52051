#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/file.hpp"
#include "io/store_index.hpp"
#include "io/temporary_file.hpp"

namespace moesaic::io {

/// What is known of a store before its tensors are written.
struct NewStore {
  ModelConfig config;
  ScaleGroups groups = {};
  WeightFormat format = WeightFormat::kInt8;
  std::string provenance = "{}";    ///< what it was made from and by: a JSON object
  std::string tokenizer_model = {};  ///< empty: none
  std::int64_t tokenizer_pieces = 0;
};

/// The hashes of one written piece, in a form that travels between ranks.
struct WrittenPiece {
  std::uint64_t tensor_idx = 0;
  std::int64_t piece = 0;
  Hash128 hash;
  Hash128 sampled_hash;
};

/// A store in the making, in a temporary file beside its final name; one rank owns it.
class StoreDraft {
 public:
  /// Lays the file out: all datasets, the attributes and the tokenizer, but no tensor. Error: `path` exists and
  /// `replace` is false, no permission, less free space than the store needs.
  StoreDraft(const std::string& path, const NewStore& store, bool replace);

  const std::string& temporary_path() const { return place_->temporary_path(); }
  /// Offsets are known, hashes zero.
  const StoreIndex& index() const { return index_; }

  /// Takes the hashes of pieces that some rank has written.
  void record(std::span<const WrittenPiece> pieces);
  /// Writes index and header, waits until all is on the device, and gives the file its final name. Every piece must
  /// have been recorded.
  void publish();

 private:
  void lay_out(const NewStore& store);

  std::string path_;
  bool replace_ = false;
  StoreIndex index_;
  std::optional<TemporaryFile> place_;
  std::int64_t num_unrecorded_ = 0;
};

/// Writes pieces of a draft from any rank, several threads at once.
class PieceWriter {
 public:
  PieceWriter(const std::string& temporary_path, const StoreIndex& index);

  const StoreIndex& index() const { return index_; }
  /// Writes consecutive whole pieces of a tensor from `first_piece` on, and hashes each.
  void write(std::size_t tensor_idx, std::int64_t first_piece, std::span<const std::byte> bytes);
  std::int64_t bytes_written() const;
  /// Waits until all is on the device; returns what was written.
  std::vector<WrittenPiece> finish();

 private:
  File file_;
  const StoreIndex& index_;
  mutable std::mutex mutex_;
  std::vector<WrittenPiece> written_;
  std::int64_t bytes_written_ = 0;
};

}  // namespace moesaic::io
