#pragma once

#include <functional>
#include <vector>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "engine/engine.hpp"

namespace moesaic {

/// Rank 0's side of a run: takes the events of an engine, and submits requests to it.
class Driver {
 public:
  virtual ~Driver() = default;
  /// Called before each step; takes at most Engine::longest_pause(), and that only while nothing is under way. False:
  /// the run is over.
  virtual bool between_steps() = 0;
  /// A stop signal (host/stop_signals.hpp) has reached rank 0; between_steps() follows. A driver that can end early
  /// does.
  virtual void stop(int signal) { fail("stopped by signal {} between two steps", signal); }
};

/// Collective: steps until rank 0's driver ends the run. driver: null on the other ranks. When it fails, every rank
/// throws its error after the step in hand.
void run(Engine& engine, Driver* driver);

/// Collective: answers rank 0's requests, which are `requests` in the order of their tickets 0, 1, ..., and shows it
/// the events. Error on all ranks when one of them fails.
void answer(Engine& engine, std::vector<GenerationRequest> requests,
            const std::function<void(const Event& event)>& see = {});

/// Collective: answers rank 0's requests; the logits hash over all of them, on every rank.
Hash128 hash_of_answers(const comm::Communicator& world, Engine& engine, std::vector<GenerationRequest> requests);

/// Requests for the logits of every position of each sequence; nothing is drawn.
std::vector<GenerationRequest> logits_requests(const std::vector<std::vector<std::int32_t>>& sequences);

}  // namespace moesaic
