#include "engine/block_pool.hpp"

#include "base/error.hpp"

namespace moesaic {

BlockId BlockPool::take() {
  MOESAIC_CHECK(num_free() > 0, "all {} blocks of the KV cache are in use", num_blocks_);
  BlockId block;
  if (!blank_.empty()) {
    block = blank_.back();
    blank_.pop_back();
  } else if (blocks_.size() < num_blocks_) {
    block = BlockId(blocks_.size());
    blocks_.emplace_back();
  } else {
    const auto oldest = unused_.begin();
    block = oldest->second;
    unused_.erase(oldest);
    by_content_.erase(*blocks_[block].content);
    blocks_[block].content.reset();
  }
  blocks_[block].num_users = 1;
  ++num_used_;
  return block;
}

std::optional<BlockId> BlockPool::find(const Hash128& content) const {
  const auto found = by_content_.find(content);
  return found == by_content_.end() ? std::nullopt : std::optional(found->second);
}

void BlockPool::add_user(BlockId block) {
  if (blocks_[block].num_users++ > 0) return;
  unused_.erase(blocks_[block].left);
  ++num_used_;
}

void BlockPool::remember(BlockId block, const Hash128& content) {
  if (by_content_.emplace(content, block).second) blocks_[block].content = content;
}

void BlockPool::drop(BlockId block) {
  Block& b = blocks_[block];
  if (--b.num_users > 0) return;
  --num_used_;
  if (b.content) {
    b.left = clock_++;
    unused_.emplace(b.left, block);
  } else {
    blank_.push_back(block);
  }
}

}  // namespace moesaic
