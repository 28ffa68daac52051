#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/hash.hpp"
#include "io/extent.hpp"
#include "io/tensor_inventory.hpp"

namespace moesaic::io {

/// A tensor and where it lies. Each piece has two hashes: of all its bytes, and of samples (piece_hash.hpp).
struct StoredTensor {
  TensorSpec spec;
  std::int64_t offset_bytes = 0;
  std::vector<Hash128> hashes;
  std::vector<Hash128> sampled_hashes;

  Extent extent() const { return {offset_bytes, spec.size_bytes()}; }
};

/// The SentencePiece model inside a store.
struct StoredTokenizer {
  Extent extent;
  Hash128 hash;
  std::int64_t num_pieces = 0;
};

/// What a store holds and where, checked: every tensor of the inventory is there with its shape, every extent lies
/// inside the file, none overlaps another.
class StoreIndex {
 public:
  /// For writers: tensors in inventory order with zero hashes.
  StoreIndex(const ModelConfig& config, WeightFormat format, ScaleGroups groups, std::string provenance);

  /// All ranks: the index of a broadcast text made by serialize(). Error names `source`.
  static StoreIndex parse(std::string_view serialized, const std::string& source);
  std::string serialize() const;

  const ModelConfig& config() const { return config_; }
  WeightFormat format() const { return format_; }
  ScaleGroups groups() const { return groups_; }
  /// What the store was made from and by, for people: a JSON object {source_format, source, converter, scales ...}.
  const std::string& provenance() const { return provenance_; }
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  std::vector<StoredTensor>& tensors() { return tensors_; }
  /// Error when the store has no such tensor.
  const StoredTensor& tensor(std::string_view name) const;
  std::size_t tensor_idx(std::string_view name) const;

  std::optional<StoredTokenizer> tokenizer;
  std::int64_t file_size_bytes = 0;
  Extent index_extent;
  Hash128 structure_hash;  ///< of all bytes outside the user block, the index, the tokenizer and the tensors

  std::int64_t weight_bytes() const;
  /// The parts of the file that structure_hash covers, ascending. Error when extents overlap or leave the file.
  std::vector<Extent> gaps(const std::string& source) const;

  /// The text of the file's `index` dataset and its inverse (docs/store.md); the extents and hashes of the header are
  /// not part of it.
  std::string to_text() const;
  static StoreIndex from_text(std::string_view text, const std::string& source);

 private:
  ModelConfig config_;
  WeightFormat format_;
  ScaleGroups groups_;
  std::string provenance_;
  std::vector<StoredTensor> tensors_;
  std::unordered_map<std::string, std::size_t> by_name_;
};

}  // namespace moesaic::io
