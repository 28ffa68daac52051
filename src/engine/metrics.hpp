#pragma once

#include <cstdint>

namespace moesaic {

/// State of an engine between two steps, and counts since it was made.
struct Metrics {
  std::int64_t num_queued = 0;                       ///< requests that wait for room, or to be taken up
  std::int64_t num_running = 0;                      ///< sequences that hold blocks of the KV cache
  std::int64_t num_blocks = 0, num_used_blocks = 0;  ///< of the KV cache, all attention groups together
  std::int64_t num_steps = 0;
  double last_step_s = 0;
  /// Tokens of prompts that have passed or were found in the KV cache; of finished requests all.
  std::int64_t prompt_tokens = 0;
  std::int64_t drawn_tokens = 0;
  std::int64_t shared_tokens = 0;  ///< that did not pass because their keys and values were there
  std::int64_t num_preempted = 0;  ///< times that a sequence had to start anew

  /// Steps of one kind. A step with tokens of a prompt counts as prefill, the others as decode.
  struct Phase {
    double seconds = 0;
    std::int64_t num_rows = 0;
    double tokens_per_s() const { return seconds > 0 ? static_cast<double>(num_rows) / seconds : 0; }
  };
  Phase prefill, decode;
};

}  // namespace moesaic
