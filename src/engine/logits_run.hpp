#pragma once

#include <functional>

#include "engine/engine.hpp"
#include "engine/run_hash.hpp"
#include "engine/scheduler.hpp"
#include "plan/grid.hpp"

namespace moesaic {

/// Every position of every sequence passes once and all its logits are wanted.
class LogitsRun final : public Driver {
 public:
  /// (sequence, position, logits (V)), ascending positions in a sequence.
  using TakeRow = std::function<void(std::int32_t sequence, std::int32_t position, std::span<const float> logits)>;

  /// scheduler: its layout is the grid's.
  LogitsRun(const plan::Grid& grid, std::vector<std::vector<std::int32_t>> sequences, SchedulerOptions scheduler,
            TakeRow take_row = {});

  Step next() override { return scheduler_.next(); }
  void take(const TokenBatch& batch, std::span<const std::int32_t> rows, const float* logits) override;

  Hash128 hash() const { return hash_.digest(); }

 private:
  Scheduler scheduler_;
  std::vector<std::int64_t> num_tokens_;  // of each sequence
  std::size_t vocab_size_;
  TakeRow take_row_;
  RunHash hash_;
};

}  // namespace moesaic
