#include "batch/line_job.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/error.hpp"
#include "base/utf8.hpp"
#include "engine/run_hash.hpp"

namespace moesaic::batch {

namespace {

/// Texts that lose their beginning are encoded as a whole, which takes a second a MiB while all ranks wait.
constexpr std::size_t kLongestCutText_bytes = std::size_t{4} << 20;

}  // namespace

std::int64_t longest_piece_bytes(const io::Tokenizer* tokenizer) {
  std::int64_t longest = 0;
  for (std::int64_t id = 0; tokenizer && id < tokenizer->num_pieces(); ++id)
    longest = std::max(longest, std::ssize(tokenizer->piece(static_cast<std::int32_t>(id))));
  return longest;
}

LineJob::LineJob(const RunModel& model, std::int64_t index, const std::string& line, openai::Request request)
    : model_(model), index_(index), id_(openai::record_id(index, line)), request_(std::move(request)) {
  if (request_.kind == openai::RequestKind::kLoglikelihood) {
    encode_loglikelihood();
  } else {
    for (std::size_t i = 0; i < request_.prompts.size(); ++i)
      prompts_.push_back(
          encode_prompt(request_.prompts[i], request_.prompts.size() == 1 ? "prompt" : fmt::format("prompt {}", i)));
  }
  request_.return_token_ids |= !model_.tokenizer;  // there is no text
  results_.resize(prompts_.size() * static_cast<std::size_t>(request_.num_drawn));
  num_left_ = std::ssize(results_);
}

/// The tokens of a completion's or chat's prompt. One that is truncated becomes token ids, which an echo shows.
std::vector<std::int32_t> LineJob::encode_prompt(openai::Prompt& prompt, const std::string& what) const {
  const std::int64_t context = model_.config.sequence_len;
  const auto asked = request_.truncate_prompt_tokens;
  if (asked == openai::Request::kAllThatFit && *request_.max_tokens >= context)
    fail("truncate_prompt_tokens is -1, and max_tokens, {}, leave no room for a prompt in the model's context, {}",
         *request_.max_tokens, context);
  std::vector<std::int32_t> tokens = encode(prompt, what, asked ? Excess::kIsCut : Excess::kIsRefused);
  if (asked) {
    const std::int64_t most = *asked == openai::Request::kAllThatFit ? context - *request_.max_tokens : *asked;
    if (std::ssize(tokens) > most) {
      tokens.erase(tokens.begin(), tokens.end() - most);
      prompt = tokens;
    }
  }
  if (std::ssize(tokens) > context) fail("{} has {} tokens, the model's context is {}", what, tokens.size(), context);
  return tokens;
}

/// what: the prompt's name in an Error. The tokens may be more than the context has place for, if its excess is cut.
std::vector<std::int32_t> LineJob::encode(const openai::Prompt& prompt, const std::string& what, Excess excess) const {
  const auto* ids = std::get_if<std::vector<std::int32_t>>(&prompt);
  std::vector<std::int32_t> tokens = ids ? *ids : encode_text(std::get<std::string>(prompt), what, excess);
  if (tokens.empty()) fail("{} has no tokens", what);
  return tokens;
}

std::vector<std::int32_t> LineJob::encode_text(const std::string& text, const std::string& what, Excess excess) const {
  if (!model_.tokenizer) fail("{} is a text, but the model has no tokenizer: give token ids", what);
  const bool may_be_encoded = excess == Excess::kIsCut && text.size() <= kLongestCutText_bytes;
  if (!may_be_encoded && cannot_fit(text))
    fail("{} has {} bytes, more than the model's context of {} tokens of at most {} bytes{}", what, text.size(),
         model_.config.sequence_len, model_.most_token_bytes,
         excess == Excess::kIsCut ? fmt::format("; it is cut from at most {} MiB", kLongestCutText_bytes >> 20) : "");
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

/// Context and continuation as tokens, as lm-eval's TemplateLM makes and cuts them (tests/data/demo/lm_eval.json):
/// white space at the context's end is the continuation's; the continuation's tokens are those of both texts together
/// behind as many as the context alone has, and follow the context's own, also where a token of both together spans the
/// join. Behind an empty context, one prefix token stands for it. What is too long for the model loses its beginning.
void LineJob::encode_loglikelihood() {
  const openai::Prompt& first = request_.prompts[0];
  const openai::Prompt& second = request_.prompts[1];
  std::vector<std::int32_t> tokens, continuation;  // tokens: the context's at first
  if (std::visit([](const auto& context) { return context.empty(); }, first)) {
    continuation = encode(second, "continuation", Excess::kIsCut);
    prefix_token_ =
        model_.config.bos_token != model_.config.pad_token ? model_.config.bos_token : model_.config.eos_token;
    tokens = {*prefix_token_};
    if (continuation.front() == *prefix_token_) continuation.erase(continuation.begin());  // it has its own
  } else if (std::holds_alternative<std::string>(first) && std::holds_alternative<std::string>(second)) {
    const auto& text = std::get<std::string>(first);
    const std::string context(without_space_at_end(text));
    const char* what = context == text ? "context" : "context without the white space at its end";
    tokens = encode(context, what, Excess::kIsCut);
    continuation = encode(text + std::get<std::string>(second), "context with its continuation", Excess::kIsCut);
    continuation.erase(continuation.begin(),
                       continuation.begin() + std::min(std::ssize(tokens), std::ssize(continuation)));
  } else {
    tokens = encode(first, "context", Excess::kIsCut);
    continuation = encode(second, "continuation", Excess::kIsCut);
  }
  if (continuation.empty()) fail("continuation has no tokens of its own behind the context's {}", tokens.size());
  const std::int64_t longest = model_.config.sequence_len;
  if (std::ssize(continuation) > longest)
    fail("continuation has {} tokens, the model's context is {}", continuation.size(), longest);
  num_context_ = std::ssize(tokens);
  tokens.insert(tokens.end(), continuation.begin(), continuation.end());
  num_cut_ = std::max<std::int64_t>(0, std::ssize(tokens) - (longest + 1));  // the last one need not pass
  tokens.erase(tokens.begin(), tokens.begin() + num_cut_);
  num_context_ -= num_cut_;
  prompts_.push_back(std::move(tokens));
}

const std::vector<std::int32_t>& LineJob::prompt_of(std::int64_t k) const {
  return prompts_[static_cast<std::size_t>(k / request_.num_drawn)];
}

GenerationRequest LineJob::sequence(std::int64_t k) const {
  GenerationRequest sequence;
  sequence.prompt = prompt_of(k);
  // A seed of its own makes a request's draws its own too, wherever its line stands.
  sequence.draw_sequence = request_.has_seed ? 0 : static_cast<std::uint64_t>(index_);
  sequence.draw_choice = static_cast<std::uint32_t>(k);
  if (request_.kind == openai::RequestKind::kLoglikelihood) {
    sequence.max_tokens = 0;
    sequence.score_from = num_context_;
    return sequence;
  }
  sequence.max_tokens = request_.max_tokens.value_or(std::numeric_limits<std::int64_t>::max());
  sequence.min_tokens = request_.min_tokens;
  sequence.stop_strings = request_.stop_strings;
  sequence.stop_tokens = request_.stop_tokens;
  sequence.ignore_eos = request_.ignore_eos;
  sequence.sampling = request_.sampling;
  if (chooses()) sequence.num_log_probs = 0;
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

void LineJob::failed(const std::string& reason) {
  if (!failure_) failure_ = reason;
  --num_left_;
}

/// A token that is no text by itself, a control one or a part of a character, has its piece's name; one that the
/// tokenizer does not have, its id. So two of them are told apart.
openai::ShownToken LineJob::shown(std::int32_t token) const {
  const io::Tokenizer* tokenizer = model_.tokenizer;
  std::string bytes = tokenizer ? tokenizer->piece(token) : "";
  if (!tokenizer || token >= tokenizer->num_pieces()) return {std::move(bytes), fmt::format("token_id:{}", token)};
  const bool is_text = !bytes.empty() && !first_invalid_utf8(bytes);
  return {std::move(bytes), is_text ? "" : tokenizer->name(token)};
}

openai::TokenScores LineJob::scores_of(const ScoredToken& token) const {
  openai::TokenScores scores{shown(token.token), token.log_prob, {}};
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
  constexpr std::string_view kReplacement = "\uFFFD";
  while (!whole.starts_with(text) && text.ends_with(kReplacement)) text.resize(text.size() - kReplacement.size());
  return text;
}

openai::Choice LineJob::choice(std::int64_t k) const {
  const Continuation& result = results_[static_cast<std::size_t>(k)];
  const std::vector<std::int32_t>& prompt = prompt_of(k);
  openai::Choice choice;
  choice.stopped = result.finish_reason == FinishReason::kStop;
  choice.tokens = result.tokens;
  if (request_.echo) {
    const openai::Prompt& asked = request_.prompts[static_cast<std::size_t>(k / request_.num_drawn)];
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

/// Log-probability of a continuation a token, from the raw logits.
double LineJob::mean_log_prob(std::int64_t k) const {
  const auto& scores = results_[static_cast<std::size_t>(k)].scores;
  double sum = 0;
  for (const ScoredToken& token : scores) sum += token.log_prob;
  return scores.empty() ? 0 : sum / static_cast<double>(scores.size());
}

/// Sequences that the result shows, in its order: all, or of each prompt's the best, best first; ties: the one drawn
/// first.
std::vector<std::int64_t> LineJob::chosen() const {
  std::vector<std::int64_t> all(results_.size());
  std::iota(all.begin(), all.end(), 0);
  if (!chooses()) return all;
  std::vector<std::int64_t> best;
  for (auto first = all.begin(); first != all.end(); first += request_.num_drawn) {
    std::stable_sort(first, first + request_.num_drawn,
                     [this](std::int64_t a, std::int64_t b) { return mean_log_prob(a) > mean_log_prob(b); });
    best.insert(best.end(), first, first + request_.num_choices);
  }
  return best;
}

std::string LineJob::record() const {
  if (request_.kind == openai::RequestKind::kLoglikelihood) {
    openai::Loglikelihood result{{}, true, num_cut_, prefix_token_};
    for (const auto& token : results_[0].prompt_scores) {
      result.token_log_probs.push_back(token.log_prob);
      result.is_greedy &= token.token == token.best;
    }
    return openai::loglikelihood_record(id_, request_, model_.name, result);
  }
  openai::Completion completion;
  for (const auto& prompt : prompts_) completion.prompt_tokens += std::ssize(prompt);
  for (const std::int64_t k : chosen()) completion.choices.push_back(choice(k));
  for (const Continuation& result : results_) completion.completion_tokens += std::ssize(result.tokens);
  return openai::completion_record(id_, request_, model_.name, completion);
}

Finished LineJob::finished() const {
  if (failure_)
    return {index_, openai::error_record(id_, request_.custom_id, "invalid_request", *failure_), run_hash({}), true};
  std::vector<Hash128> hashes;
  for (const Continuation& result : results_) hashes.push_back(result.logits_hash);
  return {index_, record(), run_hash(hashes), false};
}

}  // namespace moesaic::batch
