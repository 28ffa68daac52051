#pragma once

#include "openai/json_line.hpp"
#include "openai/request.hpp"

/// The fields of a request that are more than one value of a range. Each Error names the field, what was expected and
/// what was found.
namespace moesaic::openai {

inline constexpr std::int64_t kMostTokens = (std::int64_t{1} << 31) - 1;
inline constexpr std::int64_t kMostAlternatives = 20, kMostChoices = 128, kMostPrompts = 1024, kMostStopStrings = 64;

/// A text or a list of token ids, not empty.
Prompt prompt(const nlohmann::json& value, const std::string& name, std::int64_t vocab_size);
/// "prompt": one of these or a list of them.
std::vector<Prompt> prompts(Fields& fields, std::int64_t vocab_size);
/// "messages": a list of {role, content}; content is a text or a list of parts {"type": "text", "text"}.
std::vector<Message> messages(Fields& fields);
/// "stop": a text or a list of texts.
std::vector<std::string> stop_strings(Fields& fields);
/// "stop_token_ids", ascending and each once.
std::vector<std::int32_t> stop_tokens(Fields& fields, std::int64_t vocab_size);
/// top_p, top_k, min_p, the penalties and logit_bias.
SamplingOptions sampling(Fields& fields, std::int64_t vocab_size);
/// "temperature": 0, or what the sampler can divide by.
std::optional<float> temperature(Fields& fields);
/// "seed": any 64-bit integer, signed or not.
std::optional<std::uint64_t> seed(Fields& fields);
std::optional<std::int32_t> alternatives(std::optional<std::int64_t> count);

}  // namespace moesaic::openai
