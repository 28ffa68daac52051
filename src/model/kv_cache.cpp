#include "model/kv_cache.hpp"

#include "base/bytes.hpp"
#include "base/out_of_memory.hpp"

namespace moesaic {

KvCache::KvCache(backend::Memory& memory, backend::Queue& queue, KvPageShape page, std::int64_t num_layers,
                 std::int64_t num_kv_heads)
    : memory_(memory),
      queue_(queue),
      page_(page),
      num_kv_heads_(num_kv_heads),
      block_bytes_(bytes_of(num_layers * num_kv_heads, page.page_bytes())) {}

void KvCache::grant(SequenceId sequence, std::span<const BlockId> blocks) {
  const MemoryPurpose purpose(
      "the KV cache; fewer or shorter sequences (--max-tokens, --max-sequences) or a lower --kv-memory take less");
  std::vector<backend::Bytes>& granted = sequences_[sequence];
  for (const BlockId block : blocks) {
    if (!blocks_.ids().contains(block)) blocks_.resize(block.next().value());
    if (!blocks_[block].data()) {
      blocks_[block] = backend::Buffer(memory_, backend::Space::kDevice, block_bytes_);
      queue_.clear(blocks_[block].data(), block_bytes_);
      ++num_allocated_;
    }
    granted.push_back(blocks_[block].data());
  }
}

}  // namespace moesaic
