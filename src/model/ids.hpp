#pragma once

#include "plan/ids.hpp"

/// The index spaces of an engine's sequences and their memory.
namespace moesaic {

using SequenceId = Id<struct SequenceTag>;  ///< sequence that is under way, by the scheduler's number
using BlockId = Id<struct BlockTag>;        ///< block of an attention group's KV cache

}  // namespace moesaic
