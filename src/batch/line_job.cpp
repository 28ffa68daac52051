#include "batch/line_job.hpp"

#include <limits>

#include "base/error.hpp"
#include "engine/run_hash.hpp"

namespace moesaic::batch {
namespace {

/// More than any token stands for: SentencePiece's are 16 characters at most, unless trained otherwise. To encode 16
/// MiB takes many seconds, for which all ranks would wait, and gigabytes.
constexpr std::int64_t kMostTokenBytes = 128;

}  // namespace

LineJob::LineJob(const RunModel& model, std::int64_t index, const std::string& line, Request request)
    : model_(model), index_(index), id_(record_id(index, line)), request_(std::move(request)) {
  if (request_.kind == RequestKind::kLoglikelihood) {
    encode_loglikelihood();
  } else {
    for (std::size_t i = 0; i < request_.prompts.size(); ++i)
      prompts_.push_back(
          encode(request_.prompts[i], request_.prompts.size() == 1 ? "prompt" : fmt::format("prompt {}", i)));
  }
  request_.return_token_ids |= !model_.tokenizer;  // there is no text
  results_.resize(prompts_.size() * static_cast<std::size_t>(request_.num_choices));
  num_left_ = std::ssize(results_);
}

std::vector<std::int32_t> LineJob::encode(const Prompt& prompt, const std::string& what) const {
  std::vector<std::int32_t> tokens;
  if (const auto* ids = std::get_if<std::vector<std::int32_t>>(&prompt)) {
    tokens = *ids;
  } else {
    if (!model_.tokenizer) fail("{} is a text, but the model has no tokenizer: give token ids", what);
    const auto& text = std::get<std::string>(prompt);
    if (std::ssize(text) > kMostTokenBytes * (model_.config.sequence_len + 1))
      fail("{} has {} bytes, far more than the model's context of {} tokens", what, text.size(),
           model_.config.sequence_len);
    tokens = model_.tokenizer->encode(text);
  }
  if (tokens.empty()) fail("{} has no tokens", what);
  if (std::ssize(tokens) > model_.config.sequence_len)
    fail("{} has {} tokens, the model's context is {}", what, tokens.size(), model_.config.sequence_len);
  return tokens;
}

/// Texts are encoded together, so that the continuation has the tokens that it would have in the whole.
void LineJob::encode_loglikelihood() {
  std::vector<std::int32_t> context = encode(request_.prompts[0], "context");
  num_context_ = std::ssize(context);
  const auto* first = std::get_if<std::string>(&request_.prompts[0]);
  const auto* second = std::get_if<std::string>(&request_.prompts[1]);
  if (first && second) {
    context = encode(*first + *second, "context and continuation");
  } else {
    const auto continuation = encode(request_.prompts[1], "continuation");
    context.insert(context.end(), continuation.begin(), continuation.end());
  }
  if (std::ssize(context) <= num_context_)
    fail("continuation has no tokens of its own: with the context it has {}, the context alone {}", context.size(),
         num_context_);
  // The last token need not pass, so one more than the context's length can be scored.
  if (std::ssize(context) > model_.config.sequence_len + 1)
    fail("context and continuation have {} tokens, the model's context is {}", context.size(),
         model_.config.sequence_len);
  prompts_.push_back(std::move(context));
}

const std::vector<std::int32_t>& LineJob::prompt_of(std::int64_t k) const {
  return prompts_[static_cast<std::size_t>(k / request_.num_choices)];
}

GenerationRequest LineJob::sequence(std::int64_t k) const {
  GenerationRequest sequence;
  sequence.prompt = prompt_of(k);
  sequence.draw_sequence = static_cast<std::uint64_t>(index_);
  sequence.draw_choice = static_cast<std::uint32_t>(k);
  if (request_.kind == RequestKind::kLoglikelihood) {
    sequence.max_tokens = 0;
    sequence.score_from = num_context_;
    return sequence;
  }
  sequence.max_tokens = request_.max_tokens.value_or(std::numeric_limits<std::int64_t>::max());
  sequence.min_tokens = request_.min_tokens;
  sequence.stop_strings = request_.stop_strings;
  sequence.ignore_eos = request_.ignore_eos;
  sequence.continues = request_.kind == RequestKind::kCompletion;
  sequence.sampling = request_.sampling;
  if (request_.log_probs) {
    sequence.num_log_probs = static_cast<std::size_t>(*request_.log_probs);
    if (request_.echo && sequence.prompt.size() > 1) sequence.score_from = 1;
  }
  return sequence;
}

void LineJob::finish(std::int64_t k, const Continuation& result) {
  results_[static_cast<std::size_t>(k)] = result;
  --num_left_;
}

/// A model without a tokenizer shows tokens by their ids.
std::string LineJob::bytes_of(std::int32_t token) const {
  return model_.tokenizer ? model_.tokenizer->piece(token) : fmt::format("token_id:{}", token);
}

TokenScores LineJob::scores_of(const moesaic::ScoredToken& token) const {
  TokenScores scores{bytes_of(token.token), token.log_prob, {}};
  for (const TokenLogProb& other : token.top) scores.top.push_back({bytes_of(other.id), other.log_prob});
  return scores;
}

Choice LineJob::choice(std::int64_t k) const {
  const Continuation& result = results_[static_cast<std::size_t>(k)];
  const std::vector<std::int32_t>& prompt = prompt_of(k);
  Choice choice;
  choice.stopped = result.finish_reason == FinishReason::kStop;
  choice.tokens = result.tokens;
  if (request_.echo) {
    const Prompt& asked = request_.prompts[static_cast<std::size_t>(k / request_.num_choices)];
    const auto* text = std::get_if<std::string>(&asked);
    choice.text = text ? *text : model_.tokenizer ? model_.tokenizer->decode(prompt) : "";
  }
  choice.text += result.text;
  if (!request_.log_probs) return choice;
  if (request_.echo) choice.scores.push_back({bytes_of(prompt[0]), std::nullopt, {}});
  for (const auto& token : result.prompt_scores) choice.scores.push_back(scores_of(token));
  for (const auto& token : result.scores) choice.scores.push_back(scores_of(token));
  return choice;
}

std::string LineJob::record() const {
  if (request_.kind == RequestKind::kLoglikelihood) {
    Loglikelihood result{{}, true};
    for (const auto& token : results_[0].prompt_scores) {
      result.token_log_probs.push_back(token.log_prob);
      result.is_greedy &= token.token == token.best;
    }
    return loglikelihood_record(id_, request_, model_.name, result);
  }
  Completion completion;
  for (const auto& prompt : prompts_) completion.prompt_tokens += std::ssize(prompt);
  for (std::int64_t k = 0; k < num_sequences(); ++k) {
    completion.choices.push_back(choice(k));
    completion.completion_tokens += std::ssize(results_[static_cast<std::size_t>(k)].tokens);
  }
  return completion_record(id_, request_, model_.name, completion);
}

Finished LineJob::finished() const {
  std::vector<Hash128> hashes;
  for (const Continuation& result : results_) hashes.push_back(result.logits_hash);
  return {index_, record(), run_hash(hashes), false};
}

}  // namespace moesaic::batch
