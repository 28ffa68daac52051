#include "engine/request_rules.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace moesaic {
namespace {

struct Limits {
  const char* name;
  double value, least, most;
};

std::optional<std::string> outside(std::initializer_list<Limits> list) {
  for (const auto& [name, value, least, most] : list)
    if (!(value >= least && value <= most)) return fmt::format("{} is {}, expected {} to {}", name, value, least, most);
  return std::nullopt;
}

/// The ranges of SamplingOptions.
std::optional<std::string> broken_by_sampling(const SamplingOptions& s) {
  constexpr double kLeast = 1e-6, kMost = 1e6, kMostInt = 2147483647;
  if (s.temperature != 0)
    if (auto reason = outside({{"temperature", s.temperature, kLeast, kMost}})) return reason;
  if (!(s.top_p > 0)) return fmt::format("top_p is {}, expected more than 0", s.top_p);
  return outside({{"repetition_penalty", s.repetition_penalty, kLeast, kMost},
                  {"top_k", static_cast<double>(s.top_k), 0, kMostInt},
                  {"top_p", s.top_p, 0, 1},
                  {"min_p", s.min_p, 0, 1},
                  {"presence_penalty", s.presence_penalty, -2, 2},
                  {"frequency_penalty", s.frequency_penalty, -2, 2}});
}

}  // namespace

std::optional<std::string> broken_rule(const GenerationRequest& request, const ModelConfig& config) {
  const std::int64_t size = std::ssize(request.prompt), context = config.sequence_len;
  const std::int64_t longest = context + (request.only_scores() ? 1 : 0);  // the last token need not pass
  const auto is_token = [&](std::int64_t id) { return id >= 0 && id < config.vocab_size; };
  if (size == 0) return "the prompt has no tokens";
  if (size > longest) return fmt::format("the prompt has {} tokens, the model's context is {}", size, context);
  for (const auto* tokens : {&request.prompt, &request.stop_tokens, &request.forced})
    if (const auto bad = std::ranges::find_if_not(*tokens, is_token); bad != tokens->end())
      return fmt::format("token {} is not in the vocabulary of {}", *bad, config.vocab_size);
  for (const auto& [id, bias] : request.sampling.logit_bias) {
    if (!is_token(id))
      return fmt::format("token {} of logit_bias is not in the vocabulary of {}", id, config.vocab_size);
    if (auto reason = outside({{"a logit_bias", bias, -100, 100}})) return reason;
  }
  if (request.max_tokens < 0) return fmt::format("max_tokens is {}, expected at least 0", request.max_tokens);
  if (request.min_tokens < 0) return fmt::format("min_tokens is {}, expected at least 0", request.min_tokens);
  if (request.score_from && (*request.score_from < 1 || *request.score_from >= size))
    return fmt::format("tokens are to be scored from position {} on, the prompt has {}", *request.score_from, size);
  return broken_by_sampling(request.sampling);
}

}  // namespace moesaic
