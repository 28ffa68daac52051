#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/sampler.hpp"
#include "openai/chat_template.hpp"

namespace moesaic::openai {

enum class RequestKind : std::uint8_t { kCompletion, kChat, kLoglikelihood };

/// Text that the tokenizer encodes, or token ids.
using Prompt = std::variant<std::string, std::vector<std::int32_t>>;

/// A checked request, as one line of the input asks for it (docs/batch.md). Choice c of prompt p has the index p *
/// num_choices + c in the output; continuation c of it p * num_drawn + c for its random numbers.
struct Request {
  RequestKind kind = RequestKind::kCompletion;
  std::optional<std::string> custom_id;
  std::optional<std::string> model;  ///< as it was given; a run has one model, whatever this says
  /// Completion: one or more. Chat: the messages as the template renders them. Loglikelihood: context, continuation.
  std::vector<Prompt> prompts;
  SamplingOptions sampling;
  bool has_seed = false;                   ///< its own: then its draws do not depend on its place in the input
  std::optional<std::int64_t> max_tokens;  ///< none: until the context is full
  std::int64_t min_tokens = 0;             ///< GenerationRequest's
  std::vector<std::string> stop_strings;   ///< the template's included
  std::string answer_prefix;               ///< chats: what the template has before an answer, and is no part of it
  std::vector<std::int32_t> stop_tokens;   ///< ids that end it as the end token does; ascending, each once
  std::int32_t num_choices = 1;            ///< n: continuations of each prompt in the result
  std::int32_t num_drawn = 1;              ///< best_of: continuations that they are the best of, at least num_choices
  /// Only so many of the last tokens of a prompt count, at least 1; kAllThatFit: as many as max_tokens leave room for.
  std::optional<std::int64_t> truncate_prompt_tokens;
  bool continues_message = false;         ///< a chat whose last message, an assistant's, goes on
  bool echo = false;                      ///< the prompt comes before the continuation
  std::optional<std::int32_t> log_probs;  ///< wanted, with so many alternatives a token
  bool ignore_eos = false;
  bool return_token_ids = false;  ///< the drawn tokens' ids are part of the result

  std::vector<std::string> unknown_fields;  ///< paths of fields that mean nothing here, for the caller to report once

  static constexpr std::int64_t kAllThatFit = -1;
};

/// Why a line is no request.
struct LineError {
  /// kUnreadable: it is not of the format at all, as a JSON object is or a text. kNoTemplate: a chat, for which the run
  /// has no template.
  enum class Reason : std::uint8_t { kFields, kUnreadable, kNoTemplate };

  std::string message;
  std::optional<std::string> custom_id;  ///< if it could be read
  Reason reason = Reason::kFields;
};

inline constexpr std::string_view kChatNeedsTemplate =
    "a chat request needs --chat-template: the model is a base model and knows no chat format";

/// Facts of the run that a request's meaning depends on.
struct RequestDefaults {
  std::int64_t vocab_size = 0;                  ///< ids are 1 .. vocab_size - 1
  std::uint64_t seed = 0;                       ///< of requests without one: the run's
  const ChatTemplate* chat_template = nullptr;  ///< null: chat requests are errors
};

/// How a request is written: a JSON object, or a text that is the prompt.
enum class LineFormat : std::uint8_t { kJson, kText };

}  // namespace moesaic::openai
