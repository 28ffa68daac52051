#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/token_batch.hpp"

namespace moesaic {

/// What all ranks do in one step of an engine.
enum class StepKind : std::uint8_t {
  kRun,   ///< batches pass
  kIdle,  ///< nothing is under way
  kEnd,   ///< the run is over: blocks are given up, and no step follows
};

/// What rank 0 tells the other ranks at the begin of a step.
struct StepMessage {
  StepKind kind = StepKind::kIdle;
  Step step;
};

std::vector<std::byte> to_bytes(const StepMessage& message);
StepMessage from_bytes(const std::vector<std::byte>& bytes);

}  // namespace moesaic
