#include "engine/generation.hpp"

#include <algorithm>
#include <iterator>

#include "base/error.hpp"
#include "base/parallel.hpp"
#include "base/trace.hpp"
#include "engine/request_rules.hpp"

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
                       LogitsProbe probe)
    : config_(config), options_(options), scheduler_(options), tokenizer_(tokenizer), probe_(std::move(probe)) {
  publish_metrics();
}

std::int64_t Generation::num_under_way() const {
  return static_cast<std::int64_t>(inbox_.size() + backlog_.size() + live_.size());
}

Step Generation::next() {
  Step step;
  timed(Zone::kSchedule, [&] {
    take_inbox();
    if (!live_.empty()) step = scheduler_.next();
  });
  MOESAIC_CHECK(live_.empty() || !step.batches.empty(), "none of {} sequences can go on", live_.size());
  begin_step(step);
  publish_metrics();
  return step;
}

Step Generation::last() {
  for (const auto& [sequence, live] : live_) scheduler_.finish(sequence);
  live_.clear();
  backlog_.clear();
  return scheduler_.next();
}

void Generation::take_inbox() {
  for (auto& message : inbox_.take_all())
    if (auto* request = std::get_if<GenerationRequest>(&message))
      backlog_.push_back(std::move(*request));
    else
      cancel_now(std::get<Cancellation>(message).ticket);
  while (!backlog_.empty() && std::ssize(live_) < options_.most_sequences) {
    take_up(std::move(backlog_.front()));
    backlog_.pop_front();
  }
}

void Generation::cancel_now(std::int64_t ticket) {
  const auto waiting = std::ranges::find(backlog_, ticket, &GenerationRequest::ticket);
  if (waiting != backlog_.end()) {
    Continuation nothing;
    nothing.finish_reason = FinishReason::kCancelled;
    backlog_.erase(waiting);
    return tell_end({ticket, RequestFinished{std::move(nothing), ""}});
  }
  const auto found =
      std::ranges::find_if(live_, [&](const auto& entry) { return entry.second.request.ticket == ticket; });
  if (found != live_.end()) finish(found->first, FinishReason::kCancelled);
}

void Generation::take_up(GenerationRequest request) {
  std::ranges::sort(request.stop_tokens);
  if (auto reason = refusal(request)) return tell_end({request.ticket, RequestFailed{std::move(*reason)}});
  const SequenceId sequence = request.only_scores() ? scheduler_.add_scored(request.prompt, request.first_row())
                                                    : scheduler_.add(request.prompt, request.first_row());
  live_.try_emplace(sequence, std::move(request), config_.eos_token, tokenizer_);
}

/// Why a request can never be answered; nothing: it can.
std::optional<std::string> Generation::refusal(const GenerationRequest& request) const {
  if (auto rule = broken_rule(request, config_)) return rule;
  const std::int64_t size = std::ssize(request.prompt);
  const std::int64_t most =
      size + std::min(std::max<std::int64_t>(request.max_tokens - 1, 0), config_.sequence_len - size);
  if (!scheduler_.fits(most))
    return fmt::format("up to {} tokens do not fit in the KV cache; ask for fewer, or give it more memory", most);
  return std::nullopt;
}

void Generation::begin_step(const Step& step) {
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
  phase_ = has_prompt ? &metrics_.prefill : &metrics_.decode;
  phase_->num_rows += num_rows;
  step_start_ = Clock::now();
}

void Generation::count_passed(Live& live, std::int64_t num_tokens) {
  if (num_tokens <= live.num_passed) return;
  metrics_.prompt_tokens += num_tokens - live.num_passed;
  live.num_passed = num_tokens;
}

void Generation::finish_step() {
  metrics_.last_step_s = std::chrono::duration<double>(Clock::now() - step_start_).count();
  phase_->seconds += metrics_.last_step_s;
  ++metrics_.num_steps;
  publish_metrics();
}

/// Sequences side by side: the rows of each are hashed in their order.
void Generation::take_logits(const TokenBatch& batch, std::span<const std::int32_t> rows, const float* logits) {
  const TraceZone zone(Zone::kSample);
  const auto vocab_size = static_cast<std::size_t>(config_.vocab_size);
  const auto of_row = [&](std::size_t i, const auto& list) { return list[static_cast<std::size_t>(rows[i])]; };
  row_results_.resize(rows.size());
  runs_.clear();
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (i == 0 || of_row(i, batch.sequences) != of_row(i - 1, batch.sequences)) runs_.push_back(i);
  parallel_for(std::ssize(runs_), 1, [&](std::int64_t run) {
    const auto r = static_cast<std::size_t>(run);
    const SequenceId sequence = of_row(runs_[r], batch.sequences);
    Live& live = live_.at(sequence);
    for (std::size_t i = runs_[r], end = r + 1 < runs_.size() ? runs_[r + 1] : rows.size(); i < end; ++i) {
      const std::span<const float> values(logits + i * vocab_size, vocab_size);
      live.logits.update(std::as_bytes(values));
      row_results_[i] = evaluate(live, sequence, of_row(i, batch.positions), values);
    }
  });
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const SequenceId sequence = of_row(i, batch.sequences);
    const std::int32_t position = of_row(i, batch.positions);
    Live& live = live_.at(sequence);
    if (probe_) probe_(live.request.ticket, position, {logits + i * vocab_size, vocab_size});
    if (!live.in_prompt(position))
      append(sequence, live, std::move(row_results_[i]));
    else if (auto& score = row_results_[i].score)
      live.result.prompt_scores.push_back(std::move(*score));
  }
}

/// The next token of a continuation, from a row of its logits.
std::int32_t Generation::choose_token(const Live& live, SequenceId sequence, std::span<const float> logits) const {
  const GenerationRequest& request = live.request;
  if (live.num_drawn() < std::ssize(request.forced)) return request.forced[static_cast<std::size_t>(live.num_drawn())];
  const auto& tokens = scheduler_.tokens(sequence);
  const bool may_end = live.num_drawn() >= request.min_tokens;
  return sample(logits, request.sampling, {tokens, request.prompt.size()},
                {request.draw_sequence, tokens.size(), request.draw_choice},
                may_end ? std::span<const std::int32_t>() : std::span(live.banned));
}

Generation::RowResult Generation::evaluate(const Live& live, SequenceId sequence, std::int64_t position,
                                           std::span<const float> logits) const {
  const GenerationRequest& request = live.request;
  RowResult result;
  bool is_scored = false;
  if (live.in_prompt(position)) {
    result.token = request.prompt[static_cast<std::size_t>(position) + 1];
    is_scored = request.score_from && position + 1 >= *request.score_from;
  } else if (request.max_tokens > 0) {
    result.token = choose_token(live, sequence, logits);
    is_scored = request.num_log_probs.has_value();
  }
  if (is_scored) {
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
    const SequenceId sequence = batch.sequences[row];
    const std::int64_t position = batch.positions[row];
    Live& live = live_.at(sequence);
    const double value = log_prob(scores[i].logit, scores[i].row);
    live.logits.update(std::as_bytes(std::span(&value, 1)));
    live.result.prompt_scores.push_back(
        {live.request.prompt[static_cast<std::size_t>(position) + 1], value, scores[i].row.argmax, {}});
    if (!live.in_prompt(position + 1)) finish(sequence, FinishReason::kLength);
  }
}

/// Takes the result of a row behind the prompt.
void Generation::append(SequenceId sequence, Live& live, RowResult row) {
  const GenerationRequest& request = live.request;
  if (request.max_tokens == 0) return finish(sequence, FinishReason::kLength);
  const Clock::time_point now = Clock::now();
  const double gap = std::chrono::duration<double>(now - live.last_token).count();
  if (live.result.tokens.empty())
    live.result.first_token_s = gap;
  else
    live.result.gaps_s.push_back(static_cast<float>(gap));
  live.last_token = now;

  ++metrics_.drawn_tokens;
  live.result.tokens.push_back(row.token);
  scheduler_.append(sequence, row.token);
  const bool is_end = (row.token == config_.eos_token && !request.ignore_eos) ||
                      std::ranges::binary_search(request.stop_tokens, row.token);
  std::string text = is_end ? "" : live.stream.push(row.token, live.num_drawn() >= request.min_tokens);
  if (row.score) live.result.scores.push_back(*row.score);
  if (request.streams) events_.push({request.ticket, TokenAdded{row.token, std::move(text), std::move(row.score)}});
  if (is_end || live.stream.stopped()) return finish(sequence, FinishReason::kStop);
  if (live.num_drawn() >= request.max_tokens) return finish(sequence, FinishReason::kLength);
  if (std::ssize(scheduler_.tokens(sequence)) > config_.sequence_len) finish(sequence, FinishReason::kContext);
}

void Generation::finish(SequenceId sequence, FinishReason reason) {
  auto node = live_.extract(sequence);
  Live& live = node.mapped();
  // A prompt that is only scored has done with its last token without it.
  if (reason != FinishReason::kCancelled) count_passed(live, std::ssize(live.request.prompt));
  scheduler_.finish(sequence);
  RequestFinished finished{std::move(live.result), live.stream.finish()};
  finished.result.text = live.stream.text();
  finished.result.finish_reason = reason;
  finished.result.logits_hash = live.logits.digest();
  finished.result.total_s = std::chrono::duration<double>(Clock::now() - live.start).count();
  tell_end({live.request.ticket, std::move(finished)});
}

void Generation::submit(GenerationRequest request) {
  {
    const std::lock_guard lock(shared_mutex_);
    MOESAIC_CHECK(tickets_.insert(request.ticket).second, "ticket {} is that of a request which has not ended",
                  request.ticket);
  }
  inbox_.push(std::move(request));
}

/// The ticket may be used again when somebody takes this event.
void Generation::tell_end(Event event) {
  {
    const std::lock_guard lock(shared_mutex_);
    tickets_.erase(event.ticket);
  }
  events_.push(std::move(event));
}

Metrics Generation::metrics() const {
  const std::lock_guard lock(shared_mutex_);
  Metrics metrics = published_;
  metrics.num_queued = std::max<std::int64_t>(0, std::ssize(tickets_) - metrics.num_running);
  return metrics;
}

void Generation::publish_metrics() {
  metrics_.num_running = scheduler_.num_running();
  metrics_.num_blocks = options_.num_groups * options_.blocks_per_group;
  metrics_.num_used_blocks = scheduler_.num_used_blocks();
  metrics_.shared_tokens = scheduler_.counts().shared_tokens;
  metrics_.num_preempted = scheduler_.counts().preempted;
  const std::lock_guard lock(shared_mutex_);
  published_ = metrics_;
}

}  // namespace moesaic
