#pragma once

#include "plan/dispatch_plan.hpp"

namespace moesaic::moe {

/// Where things lie in the memory that a rank gives to a MoE layer's messages: its own rows (when others read them
/// there), a slot for each message of rows that may come to it, and its experts' outputs. Follows from who owns how
/// many rows, so every rank knows everybody's.
struct Segment {
  struct Slot {
    plan::StageRank source;
    std::size_t offset, size;  ///< bytes; size: the most that may come
  };
  std::vector<Slot> slots;         ///< by source, ascending
  std::size_t outputs_offset = 0;  ///< bytes; own rows lie at 0
  std::size_t size = 0;            ///< bytes
};

/// sources: whether rows are sent at all; shared: whether own rows and outputs are part of it.
Segment lay_out(const plan::DispatchSetting& setting, const plan::RowMap& rows, const plan::RowMessage& message,
                plan::StageRank rank, bool rows_travel, bool shared);

}  // namespace moesaic::moe
