#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <vector>

#include "base/hash.hpp"
#include "model/ids.hpp"

namespace moesaic {

/// Who uses which block of an attention group's KV cache: numbers only, no memory. A block whose content is known
/// outlives its users until its place is needed, so that a sequence that begins alike finds it.
class BlockPool {
 public:
  explicit BlockPool(std::int64_t num_blocks) : num_blocks_(num_blocks) {}

  std::int64_t num_blocks() const { return num_blocks_; }
  /// Blocks without users.
  std::int64_t num_free() const { return num_blocks_ - num_used_; }
  bool unused(BlockId block) const { return blocks_[block].num_users == 0; }

  /// A block for new content; there must be a free one. Contents that were left longest ago go first.
  BlockId take();
  /// The block that has a content.
  std::optional<BlockId> find(const Hash128& content) const;
  /// One more user of a block that find() has given.
  void add_user(BlockId block);
  /// A block's content is complete. When another block has the same, that one is found on.
  void remember(BlockId block, const Hash128& content);
  /// One user fewer.
  void drop(BlockId block);

 private:
  struct Block {
    std::int32_t num_users = 0;
    std::optional<Hash128> content;
    std::uint64_t left = 0;  ///< key in unused_, when it has content but no users
  };

  std::int64_t num_blocks_, num_used_ = 0;
  IdVector<BlockId, Block> blocks_;  // that have been taken at least once
  std::vector<BlockId> blank_;       // without users and content
  std::map<std::uint64_t, BlockId> unused_;
  std::uint64_t clock_ = 0;
  std::map<Hash128, BlockId> by_content_;
};

}  // namespace moesaic
