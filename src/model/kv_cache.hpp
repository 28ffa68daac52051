#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "backend/backend.hpp"
#include "model/ids.hpp"

namespace moesaic {

/// Keys and values of the sequences of one rank's attention group, for its layers and kv heads only. A block holds 64
/// positions: page (layer, kv head) after page. Which block is whose is decided elsewhere (engine/scheduler.hpp), for
/// all ranks of the group alike; sequences that begin alike may have blocks in common.
class KvCache {
 public:
  KvCache(backend::Memory& memory, backend::Queue& queue, KvPageShape page, std::int64_t num_layers,
          std::int64_t num_kv_heads);

  /// The next blocks of a sequence. A block's memory is taken at its first use and holds finite numbers: zeros, or what
  /// an earlier sequence left.
  void grant(SequenceId sequence, std::span<const BlockId> blocks);
  /// The blocks of a sequence; valid until its next grant() or release().
  const std::vector<backend::Bytes>& blocks(SequenceId sequence) const { return sequences_.at(sequence); }
  /// Forgets a sequence's blocks; their content stays.
  void release(SequenceId sequence) { sequences_.erase(sequence); }

  std::int64_t page_offset(plan::StageLayer layer) const {
    return layer.value() * num_kv_heads_ * static_cast<std::int64_t>(page_.page_bytes());
  }
  std::size_t allocated_bytes() const { return num_allocated_ * block_bytes_; }

 private:
  backend::Memory& memory_;
  backend::Queue& queue_;
  KvPageShape page_;
  std::int64_t num_kv_heads_;
  std::size_t block_bytes_;
  std::size_t num_allocated_ = 0;
  IdVector<BlockId, backend::Buffer> blocks_;
  std::unordered_map<SequenceId, std::vector<backend::Bytes>> sequences_;
};

}  // namespace moesaic
