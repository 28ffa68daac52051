#include "model/kv_cache.hpp"

#include <cstring>

namespace moesaic {

KvCache::KvCache(ops::KvPageShape page, std::int64_t num_layers, std::int64_t num_kv_heads)
    : page_(page),
      num_kv_heads_(num_kv_heads),
      block_bytes_(static_cast<std::size_t>(num_layers * num_kv_heads) * page.page_bytes()) {}

void KvCache::reserve(std::int32_t sequence, std::int32_t last_position) {
  Sequence& s = sequences_[sequence];
  const auto needed = static_cast<std::size_t>(last_position / ops::kBlockKeys + 1);
  while (s.blocks.size() < needed) {
    if (free_.empty()) {
      s.blocks.emplace_back(block_bytes_);
      std::memset(s.blocks.back().data(), 0, block_bytes_);
      ++allocated_blocks_;
    } else {
      s.blocks.push_back(std::move(free_.back()));
      free_.pop_back();
    }
    s.pointers.push_back(s.blocks.back().data());
  }
}

void KvCache::release(std::int32_t sequence) {
  const auto found = sequences_.find(sequence);
  if (found == sequences_.end()) return;
  for (AlignedBuffer& block : found->second.blocks) free_.push_back(std::move(block));
  sequences_.erase(found);
}

}  // namespace moesaic
