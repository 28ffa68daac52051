#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "openai/request.hpp"

namespace moesaic::openai {

/// How a token is shown beside its log-probability.
struct ShownToken {
  std::string bytes;      ///< that it stands for in a text; need not be UTF-8
  std::string name = {};  ///< of a token that is no text by itself; empty: its bytes are shown

  std::string text() const;  ///< valid UTF-8
};

struct Alternative {
  ShownToken token;
  double log_prob = 0;
};

/// A token of a choice with what could have been there.
struct TokenScores {
  ShownToken token;
  std::optional<double> log_prob;  ///< none: the first token of a prompt that is echoed
  std::vector<Alternative> top;    ///< most probable first
};

/// One continuation.
struct Choice {
  std::string text;                    ///< with the prompt before it, if echo
  bool stopped = false;                ///< by an end token or a stop string; else by a limit
  std::vector<TokenScores> scores;     ///< of the tokens of `text`; only if log-probabilities are wanted
  std::vector<std::int32_t> tokens{};  ///< drawn, the end token included; shown if the request asks for them
};

/// Result of a completion or chat.
struct Completion {
  std::vector<Choice> choices;  ///< in the order of their indices
  std::int64_t prompt_tokens = 0, completion_tokens = 0;
};

/// Result of a loglikelihood request.
struct Loglikelihood {
  std::vector<double> token_log_probs;         ///< of the continuation, ascending position
  bool is_greedy = false;                      ///< every token of it is the most probable one
  std::int64_t num_cut = 0;                    ///< tokens at the context's beginning that the model had no place for
  std::optional<std::int32_t> prefix_token{};  ///< the token that stood for an empty context
};

/// Hash that a record's ids are made from: of the request's index and its line, 32 hexadecimal digits.
std::string record_id(std::int64_t index, std::string_view line);

/// Records, one line of the output each, "\n" included, in OpenAI's batch shape (docs/batch.md). The same arguments
/// give the same bytes everywhere. `id`: record_id(); `model`: the run's, for requests that name none.
std::string completion_record(const std::string& id, const Request& request, const std::string& model,
                              const Completion& completion);
std::string loglikelihood_record(const std::string& id, const Request& request, const std::string& model,
                                 const Loglikelihood& loglikelihood);
/// `code`: invalid_request for a LineError.
std::string error_record(const std::string& id, const std::optional<std::string>& custom_id, const std::string& code,
                         const std::string& message);

}  // namespace moesaic::openai
