#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/sampler.hpp"

namespace moesaic {

/// One continuation that is asked for.
struct GenerationRequest {
  std::int64_t ticket = 0;  ///< the caller's name for it, unique among the requests of an engine
  std::vector<std::int32_t> prompt;
  std::int64_t max_tokens = 64;  ///< 0: nothing is drawn, only the prompt's rows are wanted
  std::int64_t min_tokens = 0;   ///< the first so many are not the end token, and a stop string that is complete before
                                 ///< the last of them is text
  std::vector<std::string> stop_strings;
  std::vector<std::int32_t> stop_tokens;  ///< ids that end it as the end token does, whatever ignore_eos says
  bool ignore_eos = false;
  SamplingOptions sampling;
  std::uint64_t draw_sequence = 0;  ///< DrawPoint's
  std::uint32_t draw_choice = 0;
  std::optional<std::int64_t> score_from;    ///< from this position (at least 1) on the prompt's tokens are scored
  std::optional<std::size_t> num_log_probs;  ///< drawn tokens are scored, and all scores have so many of the best
  bool all_logits = false;                   ///< the logits of every row of the prompt are hashed and shown, too
  std::vector<std::int32_t> forced;          ///< tokens that the continuation begins with in place of drawn ones
  bool streams = false;                      ///< each token of the continuation is an event as soon as it is there

  /// Nothing is drawn, and no more is wanted than how probable the prompt's tokens are.
  bool only_scores() const { return max_tokens == 0 && score_from && num_log_probs.value_or(0) == 0 && !all_logits; }
  /// Position of the first row whose logits are wanted.
  std::int64_t first_row() const { return all_logits ? 0 : score_from ? *score_from - 1 : std::ssize(prompt) - 1; }
};

}  // namespace moesaic
