#pragma once

#include <chrono>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "comm/mpi.hpp"
#include "model/stage.hpp"

namespace moesaic {

/// Rank 0's side of a run: says what comes next and takes the logits.
class Driver {
 public:
  virtual ~Driver() = default;
  /// A stop signal (host/stop_signals.hpp) has reached rank 0; next() follows. A driver that can end early does.
  virtual void stop(int signal) { fail("stopped by signal {} between two steps", signal); }
  /// Whether next() can be asked. A driver that waits for a user may take `most` to say no, and is asked again; the
  /// other ranks are told meanwhile that it is alive.
  virtual bool ready([[maybe_unused]] std::chrono::milliseconds most) { return true; }
  /// What comes next; without batches the run is over.
  virtual Step next() = 0;
  /// Logits (rows, V) of `rows` of a batch, in ascending position for each sequence.
  virtual void take(const TokenBatch& batch, std::span<const std::int32_t> rows, const float* logits) = 0;
  /// The same of rows that are scored. Only a driver that asks for scores gets any.
  virtual void take_scores(const TokenBatch&, std::span<const std::int32_t>, std::span<const RowScore>) {}
};

/// Something that every rank does after each step, together.
class StepObserver {
 public:
  virtual ~StepObserver() = default;
  virtual void after_step() = 0;
};

/// Runs a driver's batches on all ranks. Collective over the world; `driver` is used on rank 0 only (null elsewhere).
/// When the driver fails, every rank throws its error after the step in hand.
void run(const comm::Communicator& world, Stage& stage, Driver* driver, StepObserver* observer = nullptr);

}  // namespace moesaic
