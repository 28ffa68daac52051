#include "engine/driver.hpp"

#include "engine/run_hash.hpp"
#include "host/stop_signals.hpp"

namespace moesaic {
namespace {

/// Ends the run once all that was submitted is answered.
class Answers final : public Driver {
 public:
  Answers(Engine& engine, const std::function<void(const Event&)>& see) : engine_(engine), see_(see) {}

  bool between_steps() override {
    for (const Event& event : engine_.take_events()) {
      if (const auto* failed = std::get_if<RequestFailed>(&event.what))
        fail("request {}: {}", event.ticket, failed->reason);
      if (see_) see_(event);
    }
    return engine_.num_under_way() > 0;
  }

 private:
  Engine& engine_;
  const std::function<void(const Event&)>& see_;
};

}  // namespace

void run(Engine& engine, Driver* driver) {
  host::StopSignals stop_signals(2);  // SIGUSR1 alone: after SIGTERM the launcher may leave less than a step lasts
  const auto between_steps = [&] {
    try {
      if (const int signal = host::StopSignals::received()) driver->stop(signal);
      if (!driver->between_steps()) engine.end();
    } catch (const std::exception& caught) {
      engine.fail(caught.what());
    }
  };
  try {
    do {
      if (driver) between_steps();
    } while (engine.step() != StepKind::kEnd);
  } catch (...) {
    stop_signals.ignore();
    throw;
  }
}

void answer(Engine& engine, std::vector<GenerationRequest> requests,
            const std::function<void(const Event& event)>& see) {
  if (!engine.is_root()) return run(engine, nullptr);
  std::int64_t ticket = 0;
  for (GenerationRequest& request : requests) {
    request.ticket = ticket++;
    engine.submit(std::move(request));
  }
  Answers driver(engine, see);
  run(engine, &driver);
}

Hash128 hash_of_answers(const comm::Communicator& world, Engine& engine, std::vector<GenerationRequest> requests) {
  std::vector<Hash128> hashes(requests.size());
  answer(engine, std::move(requests), [&](const Event& event) {
    if (const auto* finished = std::get_if<RequestFinished>(&event.what))
      hashes[static_cast<std::size_t>(event.ticket)] = finished->result.logits_hash;
  });
  std::string hex = run_hash(hashes).hex();
  world.broadcast(hex, 0);
  return Hash128::from_hex(hex);
}

std::vector<GenerationRequest> logits_requests(const std::vector<std::vector<std::int32_t>>& sequences) {
  std::vector<GenerationRequest> requests(sequences.size());
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    requests[i].prompt = sequences[i];
    requests[i].max_tokens = 0;
    requests[i].all_logits = true;
  }
  return requests;
}

}  // namespace moesaic
