#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "engine/block_pool.hpp"

/// Whether two sequences can have a block (page) of the KV cache in common: they can where all tokens up to the block's
/// end are the same. Pure: knows tokens and hashes, no memory.
namespace moesaic {

/// Hash of each complete block of a sequence, the first block first. A hash covers all tokens from the sequence's
/// beginning to the end of its block.
using BlockContents = std::vector<Hash128>;

/// Appends the hashes of the complete blocks of `tokens` that `contents` has not yet.
void hash_blocks(std::span<const std::int32_t> tokens, BlockContents& contents);

/// Number of blocks at a sequence's beginning that it may take from the cache: their rows need not pass, because no
/// logits are wanted before position first_logit.
std::size_t num_shareable(const BlockContents& contents, std::int64_t first_logit);

/// The shareable blocks that `pool` has, up to the first that it has not.
std::vector<BlockId> cached_blocks(const BlockContents& contents, std::int64_t first_logit, const BlockPool& pool);

/// Contents that running sequences of a group are about to compute. A sequence that would compute one of them too waits
/// until it is in the cache.
class ComingContents {
 public:
  bool contains(const Hash128& content) const { return contents_.contains(content); }
  void add(std::span<const Hash128> contents) { contents_.insert(contents.begin(), contents.end()); }
  /// Takes away one announcement of each content that was added.
  void remove(std::span<const Hash128> contents);

 private:
  std::multiset<Hash128> contents_;
};

}  // namespace moesaic
