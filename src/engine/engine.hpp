#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "comm/mpi.hpp"
#include "comm/wait.hpp"
#include "engine/generation.hpp"
#include "engine/step_message.hpp"
#include "model/stage.hpp"

namespace moesaic {

/// Something that every rank does after each step, together.
class StepObserver {
 public:
  virtual ~StepObserver() = default;
  virtual void after_step() = 0;
};

/// Objects that look on while an engine runs, for files of logits and the like.
struct EngineProbes {
  LogitsProbe logits = {};           ///< rank 0's
  StepObserver* observer = nullptr;  ///< every rank's
};

/// Answers requests on all ranks of a job, many at the same time. All ranks make it and call step() until that says
/// kEnd; everything else is rank 0's. What becomes of requests is told by events, which wait in a queue until somebody
/// takes them: no step waits for a consumer. A request that cannot be taken up fails alone.
class Engine {
 public:
  /// Collective over the world, like step(). stage: no other engine runs on it at the same time. scheduler: its layout
  /// becomes the stage's. tokenizer: rank 0's; null gives no text.
  Engine(const comm::Communicator& world, Stage& stage, SchedulerOptions scheduler,
         const io::Tokenizer* tokenizer = nullptr, EngineProbes probes = {});

  bool is_root() const { return generation_.has_value(); }

  /// Any thread of rank 0 may call these four.
  void submit(GenerationRequest request) { generation_->submit(std::move(request)); }
  /// The request ends at the next step, which frees its blocks.
  void cancel(std::int64_t ticket) { generation_->cancel(ticket); }
  std::vector<Event> take_events() { return generation_->take_events(); }
  Metrics metrics() const { return generation_->metrics(); }

  /// Requests that have not come to their end; the thread that steps may call this, and the next two.
  std::int64_t num_under_way() const { return generation_->num_under_way(); }
  /// The next step ends the run on all ranks; what is under way is dropped.
  void end() { ended_ = true; }
  /// The next step throws this as an Error on all ranks.
  void fail(std::string reason) { failure_ = std::move(reason); }

  /// Collective: one step of all that is under way. kIdle: nothing was; the caller may submit, wait, or end the run.
  /// When something fails on rank 0, every rank throws its Error, from the next step at the latest.
  StepKind step();

  /// Rank 0 may let this much time pass between two steps while nothing is under way; the other ranks wait patiently.
  static std::chrono::milliseconds longest_pause();

 private:
  HeadSink sink();
  template <class Work>
  void on_root(const Work& work);

  const comm::Communicator& world_;
  Stage& stage_;
  StepObserver* observer_;
  std::optional<Generation> generation_;  // rank 0's
  bool ended_ = false;
  std::optional<std::string> failure_;  // of rank 0, told to all instead of the next step
  std::optional<comm::RunningWaits> waits_;
  std::optional<comm::PatientWaits> patience_;  // while nothing is under way
};

}  // namespace moesaic
