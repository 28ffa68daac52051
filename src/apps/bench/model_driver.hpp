#pragma once

#include <chrono>

#include "engine/engine.hpp"
#include "engine/run_hash.hpp"
#include "engine/scheduler.hpp"
#include "plan/footprint.hpp"

namespace moesaic::apps::bench {

/// What passes through the model in one repetition.
struct ModelTest {
  std::int64_t num_sequences = 1;  ///< at the same time
  std::int64_t num_prompt = 0;     ///< tokens of each that pass as a prompt
  std::int64_t num_generated = 0;  ///< tokens of each that then pass one by one

  std::int64_t num_tokens() const { return num_sequences * (num_prompt + num_generated); }
  std::string name() const;  ///< "pp512", "tg128" or "pp512+tg128"
  plan::Workload workload(std::int64_t prefill_chunk) const;
};

/// Pseudo-random tokens, the same in every repetition; nothing is drawn from the logits, they are hashed. The
/// clock runs from the first next() to the one after the last logits.
class ModelDriver final : public Driver {
 public:
  /// scheduler: its layout is the grid's.
  ModelDriver(const plan::Grid& grid, const ModelTest& test, SchedulerOptions scheduler);

  Step next() override;
  void take(const TokenBatch& batch, std::span<const std::int32_t> rows, const float* logits) override;

  double seconds() const { return seconds_; }
  Hash128 hash() const { return hash_.digest(); }

 private:
  using Clock = std::chrono::steady_clock;
  std::int32_t token(std::int32_t sequence, std::int64_t position) const;

  ModelTest test_;
  Scheduler scheduler_;
  std::int64_t vocab_size_;
  RunHash hash_;
  bool running_ = false;
  Clock::time_point start_;
  double seconds_ = 0;
};

}  // namespace moesaic::apps::bench
