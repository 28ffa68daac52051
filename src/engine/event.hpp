#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/hash.hpp"
#include "model/log_probs.hpp"

namespace moesaic {

/// How probable a token was, from the logits as they are: before temperature, penalties and filters.
struct ScoredToken {
  std::int32_t token = 0;
  double log_prob = 0;    ///< natural logarithm
  std::int32_t best = 0;  ///< the most probable token; ties: the lowest id
  std::vector<TokenLogProb> top;
};

enum class FinishReason : std::uint8_t { kNone, kStop, kLength, kContext, kCancelled };
std::string_view name(FinishReason reason);

/// Result of a request: drawn tokens, their text, why it ended, scores, times.
struct Continuation {
  std::vector<std::int32_t> tokens;  ///< drawn, the end token included
  std::string text;
  FinishReason finish_reason = FinishReason::kNone;
  std::vector<ScoredToken> prompt_scores, scores;  ///< of the prompt from score_from on, and of `tokens`
  Hash128 logits_hash;  ///< of the rows that were wanted; where nothing but scores was, of the log-probabilities
  double first_token_s = 0, total_s = 0;  ///< since the request was taken up
  std::vector<float> gaps_s;              ///< between tokens
};

/// A request that streams has got one more token.
struct TokenAdded {
  std::int32_t token = 0;
  std::string text;                  ///< what has become certain with it; may be empty
  std::optional<ScoredToken> score;  ///< where the request asks for scores
};

/// A request has come to its end.
struct RequestFinished {
  Continuation result;
  std::string last_text;  ///< end of the result's text that no TokenAdded had
};

/// A request could not be taken up; the others go on.
struct RequestFailed {
  std::string reason;
};

/// What an engine tells of one request. Each request has its TokenAdded in the order of its tokens, and then one of the
/// other two.
struct Event {
  std::int64_t ticket = 0;  ///< the request's
  std::variant<TokenAdded, RequestFinished, RequestFailed> what;
};

}  // namespace moesaic
