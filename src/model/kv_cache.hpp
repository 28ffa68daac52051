#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "ops/kernels.hpp"

namespace moesaic {

/// Keys and values of the sequences of one rank's attention group, for its layers and kv heads only. A block holds 64
/// positions of one sequence: page (layer, kv head) after page.
class KvCache {
 public:
  KvCache(ops::KvPageShape page, std::int64_t num_layers, std::int64_t num_kv_heads);

  /// Makes room for positions 0 ... last of a sequence. Blocks hold finite numbers: zeros, or what an earlier sequence
  /// left.
  void reserve(std::int32_t sequence, std::int32_t last_position);
  /// Block pointers of a sequence that has room; valid until its next reserve() or release().
  std::byte* const* blocks(std::int32_t sequence) const { return sequences_.at(sequence).pointers.data(); }
  /// Gives a sequence's blocks to later ones.
  void release(std::int32_t sequence);

  std::int64_t page_offset(std::int64_t layer_in_stage) const {
    return layer_in_stage * num_kv_heads_ * static_cast<std::int64_t>(page_.page_bytes());
  }
  std::size_t block_bytes() const { return block_bytes_; }
  std::size_t allocated_bytes() const { return allocated_blocks_ * block_bytes_; }

 private:
  struct Sequence {
    std::vector<AlignedBuffer> blocks;
    std::vector<std::byte*> pointers;
  };

  ops::KvPageShape page_;
  std::int64_t num_kv_heads_;
  std::size_t block_bytes_;
  std::size_t allocated_blocks_ = 0;
  std::unordered_map<std::int32_t, Sequence> sequences_;
  std::vector<AlignedBuffer> free_;
};

}  // namespace moesaic
