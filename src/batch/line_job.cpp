#include "batch/line_job.hpp"

#include <algorithm>
#include <limits>

#include "base/error.hpp"
#include "base/utf8.hpp"
#include "engine/run_hash.hpp"

namespace moesaic::batch {

std::int64_t longest_piece_bytes(const io::Tokenizer* tokenizer) {
  std::int64_t longest = 0;
  for (std::int64_t id = 0; tokenizer && id < tokenizer->num_pieces(); ++id)
    longest = std::max(longest, std::ssize(tokenizer->piece(static_cast<std::int32_t>(id))));
  return longest;
}

LineJob::LineJob(const RunModel& model, std::int64_t index, const std::string& line, Request request)
    : model_(model), index_(index), id_(record_id(index, line)), request_(std::move(request)) {
  if (request_.kind == RequestKind::kLoglikelihood) {
    encode_loglikelihood();
  } else {
    for (std::size_t i = 0; i < request_.prompts.size(); ++i)
      prompts_.push_back(encode(request_.prompts[i],
                                request_.prompts.size() == 1 ? "prompt" : fmt::format("prompt {}", i),
                                model_.config.sequence_len));
  }
  request_.return_token_ids |= !model_.tokenizer;  // there is no text
  results_.resize(prompts_.size() * static_cast<std::size_t>(request_.num_choices));
  num_left_ = std::ssize(results_);
}

/// what: the prompt's name in an Error.
std::vector<std::int32_t> LineJob::encode(const Prompt& prompt, const std::string& what,
                                          std::int64_t most_tokens) const {
  const auto* ids = std::get_if<std::vector<std::int32_t>>(&prompt);
  std::vector<std::int32_t> tokens = ids ? *ids : encode_text(std::get<std::string>(prompt), what);
  if (tokens.empty()) fail("{} has no tokens", what);
  if (std::ssize(tokens) > most_tokens)
    fail("{} has {} tokens, the model's context is {}", what, tokens.size(), model_.config.sequence_len);
  return tokens;
}

std::vector<std::int32_t> LineJob::encode_text(const std::string& text, const std::string& what) const {
  if (!model_.tokenizer) fail("{} is a text, but the model has no tokenizer: give token ids", what);
  if (cannot_fit(text))
    fail("{} has {} bytes, more than the model's context of {} tokens of at most {} bytes", what, text.size(),
         model_.config.sequence_len, model_.most_token_bytes);
  return model_.tokenizer->encode(text);
}

/// Whether so much of the text as context + 1 of the longest tokens can stand for, and one token more, is not all of
/// it. To encode 16 MiB takes many seconds, for which all ranks would wait, and gigabytes. A tokenizer that leaves some
/// of a text out, or puts one token for any number of unknown characters, gives another text back: then it is encoded.
bool LineJob::cannot_fit(const std::string& text) const {
  const auto most_bytes = static_cast<std::size_t>(model_.most_token_bytes * (model_.config.sequence_len + 2));
  if (text.size() <= most_bytes) return false;
  std::size_t size = most_bytes;
  while (size < text.size() && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) ++size;  // whole characters
  const std::string begin = text.substr(0, size);
  return model_.tokenizer->decode(model_.tokenizer->encode(begin)) == begin;
}

/// As lm-eval does it: white space at the context's end is the continuation's, and both texts are encoded together, so
/// that the continuation has the tokens that it would have in the whole.
void LineJob::encode_loglikelihood() {
  const std::int64_t most_tokens = model_.config.sequence_len + 1;  // the last one need not pass
  const auto* first = std::get_if<std::string>(&request_.prompts[0]);
  const auto* second = std::get_if<std::string>(&request_.prompts[1]);
  std::vector<std::int32_t> tokens;
  if (first && second) {
    const std::string context(without_space_at_end(*first));
    const char* what = context == *first ? "context" : "context without the white space at its end";
    num_context_ = std::ssize(encode(context, what, most_tokens));
    tokens = encode(*first + *second, "context with its continuation", most_tokens);
  } else {
    tokens = encode(request_.prompts[0], "context", most_tokens);
    num_context_ = std::ssize(tokens);
    const auto continuation = encode(request_.prompts[1], "continuation", most_tokens);
    tokens.insert(tokens.end(), continuation.begin(), continuation.end());
    tokens = encode(tokens, "context with its continuation", most_tokens);
  }
  if (std::ssize(tokens) <= num_context_)
    fail("continuation has no tokens of its own: with the context it has {}, the context alone {}", tokens.size(),
         num_context_);
  prompts_.push_back(std::move(tokens));
}

const std::vector<std::int32_t>& LineJob::prompt_of(std::int64_t k) const {
  return prompts_[static_cast<std::size_t>(k / request_.num_choices)];
}

GenerationRequest LineJob::sequence(std::int64_t k) const {
  GenerationRequest sequence;
  sequence.prompt = prompt_of(k);
  // A seed of its own makes a request's draws its own too, wherever its line stands.
  sequence.draw_sequence = request_.has_seed ? 0 : static_cast<std::uint64_t>(index_);
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

/// A token that is no text by itself, a control one or a part of a character, has its piece's name; one that the
/// tokenizer does not have, its id. So two of them are told apart.
ShownToken LineJob::shown(std::int32_t token) const {
  const io::Tokenizer* tokenizer = model_.tokenizer;
  std::string bytes = tokenizer ? tokenizer->piece(token) : "";
  if (!tokenizer || token >= tokenizer->num_pieces()) return {std::move(bytes), fmt::format("token_id:{}", token)};
  const bool is_text = !bytes.empty() && !first_invalid_utf8(bytes);
  return {std::move(bytes), is_text ? "" : tokenizer->name(token)};
}

TokenScores LineJob::scores_of(const ScoredToken& token) const {
  TokenScores scores{shown(token.token), token.log_prob, {}};
  for (const TokenLogProb& other : token.top) scores.top.push_back({shown(other.id), other.log_prob});
  return scores;
}

/// The text of a prompt of ids, without U+FFFD for bytes at its end that the continuation has made a character.
std::string LineJob::text_before(const std::vector<std::int32_t>& continuation,
                                 std::vector<std::int32_t> prompt) const {
  if (!model_.tokenizer) return "";
  std::string text = model_.tokenizer->decode(prompt);
  prompt.insert(prompt.end(), continuation.begin(), continuation.end());
  const std::string whole = model_.tokenizer->decode(prompt);
  while (!whole.starts_with(text)) text.resize(text.size() - std::string_view("\uFFFD").size());
  return text;
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
    choice.text = text ? *text : text_before(result.tokens, prompt);
  }
  choice.text += result.text;
  if (choice.text.starts_with(request_.answer_prefix)) choice.text.erase(0, request_.answer_prefix.size());
  if (!request_.log_probs) return choice;
  if (request_.echo) choice.scores.push_back({shown(prompt[0]), std::nullopt, {}});
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
