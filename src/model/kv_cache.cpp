#include "model/kv_cache.hpp"

#include "base/out_of_memory.hpp"

namespace moesaic {

KvCache::KvCache(backend::Memory& memory, backend::Queue& queue, KvPageShape page, std::int64_t num_layers,
                 std::int64_t num_kv_heads)
    : memory_(memory),
      queue_(queue),
      page_(page),
      num_kv_heads_(num_kv_heads),
      block_bytes_(static_cast<std::size_t>(num_layers * num_kv_heads) * page.page_bytes()) {}

void KvCache::grant(std::int32_t sequence, std::span<const std::int32_t> blocks) {
  const MemoryPurpose purpose(
      "the KV cache; fewer or shorter sequences (--max-tokens, --max-sequences) or a lower --kv-memory take less");
  std::vector<backend::Bytes>& granted = sequences_[sequence];
  for (const std::int32_t number : blocks) {
    const auto idx = static_cast<std::size_t>(number);
    if (idx >= blocks_.size()) blocks_.resize(idx + 1);
    if (!blocks_[idx].data()) {
      blocks_[idx] = backend::Buffer(memory_, backend::Space::kDevice, block_bytes_);
      queue_.clear(blocks_[idx].data(), block_bytes_);
      ++num_allocated_;
    }
    granted.push_back(blocks_[idx].data());
  }
}

}  // namespace moesaic
