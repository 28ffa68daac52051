#pragma once

#include <optional>

#include "comm/shared_memory.hpp"
#include "moe/dispatch_context.hpp"

namespace moesaic::moe {

/// Where the rows of a MoE layer come in, and where experts put their outputs when others read them: a rank's own
/// memory, or, where the ranks of a node share theirs, a segment of each that all of them see. What lies where follows
/// from who owns how many rows, so every rank knows everybody's.
class NodeMemory {
 public:
  /// Where a message from another domain may come to.
  struct Slot {
    plan::StageRank source;
    std::size_t size_bytes = 0;  ///< the most that may come
    backend::Slice memory;
  };

  /// Collective over the ranks of a node where these share memory.
  explicit NodeMemory(const DispatchContext& context);

  /// Makes room for these rows. Collective over the ranks of a node.
  void lay_out(const plan::RowMap& rows);

  bool shared() const { return shared_.has_value(); }
  /// Slots in a member's segment, by ascending source.
  const std::vector<Slot>& slots(plan::MemberId member) const { return segments_[member].slots; }
  /// The message of a member's own rows; only where memory is shared.
  backend::Slice own_message(plan::MemberId member) const { return segments_[member].own_message; }
  /// Where a member's experts put their outputs (terms, D); only where memory is shared.
  backend::Bytes outputs(plan::MemberId member) const { return segments_[member].outputs; }

  /// All ranks of the node: what each has written before, kernels included, all see after. Messages go on meanwhile.
  void meet();

 private:
  struct Segment {
    std::vector<Slot> slots;
    backend::Slice own_message;
    backend::Bytes outputs;
  };
  std::vector<Slot> slots_of(const plan::RowMap& rows, plan::StageRank rank) const;
  void place_in_own_memory();
  void place_in_shared_memory(const plan::RowMap& rows);

  const DispatchContext& context_;
  std::optional<plan::RowMap> laid_out_;
  IdVector<plan::MemberId, Segment> segments_;
  std::optional<comm::SharedMemory> shared_;  // kHier's
  std::vector<backend::Buffer> private_;      // else, by slot: kernels may have some while messages come into others
};

}  // namespace moesaic::moe
