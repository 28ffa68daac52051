#pragma once

#include <span>
#include <vector>

#include "comm/mpi.hpp"
#include "model/stage.hpp"

namespace moesaic {

/// Rank 0's side of a run: says what comes next and takes the logits.
class Driver {
 public:
  virtual ~Driver() = default;
  /// Sequences that ended in the steps so far and have not been named yet; their caches are released. Asked before
  /// next().
  virtual std::vector<std::int32_t> ended() = 0;
  /// The next micro-batches; empty: the run is over.
  virtual std::vector<TokenBatch> next() = 0;
  /// Logits (rows, V) of `rows` of a batch, in ascending position for each sequence.
  virtual void take(const TokenBatch& batch, std::span<const std::int32_t> rows, const float* logits) = 0;
};

/// Something that every rank does after each step, together.
class StepObserver {
 public:
  virtual ~StepObserver() = default;
  virtual void after_step() = 0;
};

/// Runs a driver's batches on all ranks. Collective over the world; `driver` is used on rank 0 only (null elsewhere).
/// When the driver fails, every rank throws its error after the step in hand; so it does when a stop signal
/// (io/stop_signals.hpp) has reached rank 0.
void run(const comm::Communicator& world, Stage& stage, Driver* driver, StepObserver* observer = nullptr);

}  // namespace moesaic
