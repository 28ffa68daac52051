#include "engine/generation.hpp"

#include <algorithm>
#include <iterator>

#include "base/parallel.hpp"
#include "base/trace.hpp"

namespace moesaic {

std::string_view name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kContext:
      return "context";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kNone:
      break;
  }
  return "none";
}

Generation::Live::Live(GenerationRequest asked, std::int32_t eos_token, const io::Tokenizer* tokenizer)
    : request(std::move(asked)), stream(tokenizer, request.prompt, request.stop_strings) {
  const std::vector<std::int32_t> end = {eos_token};
  std::ranges::set_union(request.stop_tokens, end, std::back_inserter(banned));
}

Generation::Generation(const ModelConfig& config, const SchedulerOptions& options, const io::Tokenizer* tokenizer,
                       Source source, Events events)
    : config_(config),
      options_(options),
      scheduler_(options),
      tokenizer_(tokenizer),
      source_(std::move(source)),
      events_(std::move(events)) {}

bool Generation::ready(std::chrono::milliseconds most) {
  return ended_ || !live_.empty() || !events_.await || events_.await(most);
}

void Generation::cancel(std::int64_t ticket) {
  const auto found = std::find_if(live_.begin(), live_.end(),
                                  [&](const auto& entry) { return entry.second.request.ticket == ticket; });
  if (found != live_.end()) finish(found->first, FinishReason::kCancelled);
}

Step Generation::next() {
  stop_clock();
  if (events_.before_step) events_.before_step();
  if (ended_) return {};
  pull();
  Step step;
  timed(Zone::kSchedule, [&] { step = scheduler_.next(); });
  start_clock(step);
  return step;
}

/// Takes up sequences, but stops after a while: other ranks wait meanwhile, and long texts take seconds to encode.
void Generation::pull() {
  constexpr std::chrono::seconds kLongest{1};
  const auto begin = Clock::now();
  while (source_ && std::ssize(live_) < options_.most_sequences && (live_.empty() || Clock::now() - begin < kLongest)) {
    std::optional<GenerationRequest> request = source_();
    if (!request) {
      source_ = {};
      return;
    }
    const auto num_prompt = std::ssize(request->prompt);
    const std::int64_t first_row = request->score_from ? *request->score_from - 1 : num_prompt - 1;
    const std::int32_t sequence = request->only_scores() ? scheduler_.add_scored(request->prompt, first_row)
                                                         : scheduler_.add(request->prompt, first_row);
    live_.try_emplace(sequence, std::move(*request), config_.eos_token, tokenizer_);
  }
}

void Generation::start_clock(const Step& step) {
  std::int64_t num_rows = 0;
  bool has_prompt = false;
  for (const TokenBatch& batch : step.batches) {
    num_rows += batch.num_rows();
    for (std::size_t row = 0; row < batch.tokens.size(); ++row) {
      Live& live = live_.at(batch.sequences[row]);
      if (batch.positions[row] >= std::ssize(live.request.prompt)) continue;
      has_prompt = true;
      count_passed(live, batch.positions[row] + 1);
    }
  }
  running_ = has_prompt ? &prefill_ : &decode_;
  running_->num_rows += num_rows;
  step_start_ = Clock::now();
}

void Generation::count_passed(Live& live, std::int64_t num_tokens) {
  if (num_tokens <= live.num_passed) return;
  rates_.prompt_tokens += num_tokens - live.num_passed;
  live.num_passed = num_tokens;
}

void Generation::stop_clock() {
  if (running_) running_->seconds += std::chrono::duration<double>(Clock::now() - step_start_).count();
  running_ = nullptr;
}

void Generation::stop(int signal) {
  if (!events_.stopped) return Driver::stop(signal);
  events_.stopped(signal);
}

/// Sequences side by side: the rows of each are hashed in their order.
void Generation::take(const TokenBatch& batch, std::span<const std::int32_t> rows, const float* logits) {
  const TraceZone zone(Zone::kSample);
  const auto vocab_size = static_cast<std::size_t>(config_.vocab_size);
  const auto of_row = [&](std::size_t i, const std::vector<std::int32_t>& list) {
    return list[static_cast<std::size_t>(rows[i])];
  };
  row_results_.resize(rows.size());
  runs_.clear();
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (i == 0 || of_row(i, batch.sequences) != of_row(i - 1, batch.sequences)) runs_.push_back(i);
  parallel_for(std::ssize(runs_), 1, [&](std::int64_t run) {
    const auto r = static_cast<std::size_t>(run);
    const std::int32_t sequence = of_row(runs_[r], batch.sequences);
    Live& live = live_.at(sequence);
    for (std::size_t i = runs_[r], end = r + 1 < runs_.size() ? runs_[r + 1] : rows.size(); i < end; ++i) {
      const std::span<const float> values(logits + i * vocab_size, vocab_size);
      live.logits.update(std::as_bytes(values));
      row_results_[i] = evaluate(live, sequence, of_row(i, batch.positions), values);
    }
  });
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::int32_t sequence = of_row(i, batch.sequences);
    Live& live = live_.at(sequence);
    const bool in_prompt = live.in_prompt(of_row(i, batch.positions));
    if (auto& score = row_results_[i].score)
      (in_prompt ? live.result.prompt_scores : live.result.scores).push_back(std::move(*score));
    if (!in_prompt) append(sequence, live, row_results_[i].token);
  }
}

Generation::RowResult Generation::evaluate(const Live& live, std::int32_t sequence, std::int64_t position,
                                           std::span<const float> logits) const {
  const GenerationRequest& request = live.request;
  RowResult result;
  const bool in_prompt = live.in_prompt(position);
  if (in_prompt) {
    result.token = request.prompt[static_cast<std::size_t>(position) + 1];
  } else if (request.max_tokens > 0) {
    const auto& tokens = scheduler_.tokens(sequence);
    const bool may_end = std::ssize(live.result.tokens) >= request.min_tokens;
    result.token = sample(logits, request.sampling, {tokens, request.prompt.size()},
                          {request.draw_sequence, tokens.size(), request.draw_choice},
                          may_end ? std::span<const std::int32_t>() : std::span(live.banned));
  }
  if (in_prompt || (request.num_log_probs && request.max_tokens > 0)) {
    const RowSum sum = row_sum(logits);
    result.score = {result.token, log_prob(logits[static_cast<std::size_t>(result.token)], sum), sum.argmax,
                    top_log_probs(logits, request.num_log_probs.value_or(0), sum)};
  }
  return result;
}

void Generation::take_scores(const TokenBatch& batch, std::span<const std::int32_t> rows,
                             std::span<const RowScore> scores) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto row = static_cast<std::size_t>(rows[i]);
    const std::int32_t sequence = batch.sequences[row];
    const std::int64_t position = batch.positions[row];
    Live& live = live_.at(sequence);
    const double value = log_prob(scores[i].logit, scores[i].row);
    live.logits.update(std::as_bytes(std::span(&value, 1)));
    live.result.prompt_scores.push_back(
        {live.request.prompt[static_cast<std::size_t>(position) + 1], value, scores[i].row.argmax, {}});
    if (!live.in_prompt(position + 1)) finish(sequence, FinishReason::kLength);
  }
}

void Generation::append(std::int32_t sequence, Live& live, std::int32_t token) {
  if (live.request.max_tokens == 0) return finish(sequence, FinishReason::kLength);
  const Clock::time_point now = Clock::now();
  const double gap = std::chrono::duration<double>(now - live.last_token).count();
  if (live.result.tokens.empty())
    live.result.first_token_s = gap;
  else
    live.result.gaps_s.push_back(static_cast<float>(gap));
  live.last_token = now;

  ++rates_.drawn_tokens;
  live.result.tokens.push_back(token);
  scheduler_.append(sequence, token);
  if ((token == config_.eos_token && !live.request.ignore_eos) ||
      std::ranges::binary_search(live.request.stop_tokens, token))
    return finish(sequence, FinishReason::kStop);

  const std::string text = live.stream.push(token, std::ssize(live.result.tokens) >= live.request.min_tokens);
  if (!text.empty() && events_.text) events_.text(live.request.ticket, text);
  if (live.stream.stopped()) return finish(sequence, FinishReason::kStop);
  if (std::ssize(live.result.tokens) >= live.request.max_tokens) return finish(sequence, FinishReason::kLength);
  if (std::ssize(scheduler_.tokens(sequence)) > config_.sequence_len) finish(sequence, FinishReason::kContext);
}

void Generation::finish(std::int32_t sequence, FinishReason reason) {
  auto node = live_.extract(sequence);
  Live& live = node.mapped();
  // A prompt that is only scored has done with its last token without it.
  if (reason != FinishReason::kCancelled) count_passed(live, std::ssize(live.request.prompt));
  scheduler_.finish(sequence);
  const std::string text = live.stream.finish();
  if (!text.empty() && events_.text) events_.text(live.request.ticket, text);
  live.result.text = live.stream.text();
  live.result.finish_reason = reason;
  live.result.logits_hash = live.logits.digest();
  live.result.total_s = std::chrono::duration<double>(Clock::now() - live.start).count();
  if (events_.finish) events_.finish(live.request.ticket, live.result);
}

Generation::Rates Generation::rates() const {
  Rates rates = rates_;
  const auto per_second = [](const Phase& phase) {
    return phase.seconds > 0 ? static_cast<double>(phase.num_rows) / phase.seconds : 0;
  };
  rates.prefill_tokens_per_s = per_second(prefill_);
  rates.decode_tokens_per_s = per_second(decode_);
  return rates;
}

}  // namespace moesaic
