#include "engine/prefix_sharing.hpp"

#include <algorithm>

#include "config/kv_page.hpp"

namespace moesaic {

void hash_blocks(std::span<const std::int32_t> tokens, BlockContents& contents) {
  for (std::size_t block = contents.size(); (block + 1) * kBlockKeys <= tokens.size(); ++block) {
    Hasher hasher;
    if (block > 0) hasher.update(std::as_bytes(std::span(contents[block - 1].bytes)));
    hasher.update(std::as_bytes(tokens.subspan(block * kBlockKeys, kBlockKeys)));
    contents.push_back(hasher.digest());
  }
}

std::size_t num_shareable(const BlockContents& contents, std::int64_t first_logit) {
  return std::min(contents.size(), static_cast<std::size_t>(first_logit / kBlockKeys));
}

std::vector<BlockId> cached_blocks(const BlockContents& contents, std::int64_t first_logit, const BlockPool& pool) {
  std::vector<BlockId> blocks;
  while (blocks.size() < num_shareable(contents, first_logit)) {
    const auto found = pool.find(contents[blocks.size()]);
    if (!found) break;
    blocks.push_back(*found);
  }
  return blocks;
}

void ComingContents::remove(std::span<const Hash128> contents) {
  for (const Hash128& content : contents)
    if (const auto found = contents_.find(content); found != contents_.end()) contents_.erase(found);
}

}  // namespace moesaic
