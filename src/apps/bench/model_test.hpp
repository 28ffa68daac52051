#pragma once

#include <string>
#include <vector>

#include "engine/driver.hpp"
#include "plan/footprint.hpp"

namespace moesaic::apps::bench {

/// Tokens that pass through the model in one repetition of a test.
struct ModelTest {
  std::int64_t num_sequences = 1;  ///< at the same time
  std::int64_t num_prompt = 0;     ///< tokens of each that pass as a prompt
  std::int64_t num_generated = 0;  ///< tokens of each that then pass one by one

  std::int64_t num_tokens() const { return num_sequences * (num_prompt + num_generated); }
  std::string name() const;  ///< "pp512", "tg128" or "pp512+tg128"
  plan::Workload workload(std::int64_t prefill_chunk) const;
  /// Pseudo-random tokens, the same in every repetition; nothing is drawn from the logits, which are hashed.
  std::vector<GenerationRequest> requests(std::int64_t vocab_size) const;
};

/// One repetition of a test.
struct ModelPass {
  double seconds;  ///< from the first step to the end of the last, on rank 0
  Hash128 hash;    ///< of the logits, the same on all ranks
};

/// Collective: passes a test's tokens through the model.
ModelPass run_test(const comm::Communicator& world, Stage& stage, const ModelTest& test,
                   const SchedulerOptions& scheduler);

}  // namespace moesaic::apps::bench
