#include "engine/block_pool.hpp"

#include "base/error.hpp"

namespace moesaic {

std::int32_t BlockPool::take() {
  MOESAIC_CHECK(num_free() > 0, "all {} blocks of the KV cache are in use", num_blocks_);
  std::int32_t block;
  if (!blank_.empty()) {
    block = blank_.back();
    blank_.pop_back();
  } else if (std::ssize(blocks_) < num_blocks_) {
    block = static_cast<std::int32_t>(blocks_.size());
    blocks_.emplace_back();
  } else {
    const auto oldest = unused_.begin();
    block = oldest->second;
    unused_.erase(oldest);
    by_content_.erase(*at(block).content);
    at(block).content.reset();
  }
  at(block).num_users = 1;
  ++num_used_;
  return block;
}

std::optional<std::int32_t> BlockPool::find(const Hash128& content) const {
  const auto found = by_content_.find(content);
  return found == by_content_.end() ? std::nullopt : std::optional(found->second);
}

void BlockPool::share(std::int32_t block) {
  if (at(block).num_users++ > 0) return;
  unused_.erase(at(block).left);
  ++num_used_;
}

void BlockPool::remember(std::int32_t block, const Hash128& content) {
  if (by_content_.emplace(content, block).second) at(block).content = content;
}

void BlockPool::drop(std::int32_t block) {
  Block& b = at(block);
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
