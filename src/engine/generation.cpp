#include "engine/generation.hpp"

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
    case FinishReason::kNone:
      break;
  }
  return "none";
}

Generation::Generation(const ModelConfig& config, const SchedulerOptions& options, const io::Tokenizer* tokenizer,
                       Source source, Events events)
    : config_(config),
      options_(options),
      scheduler_(options),
      tokenizer_(tokenizer),
      source_(std::move(source)),
      events_(std::move(events)) {}

Step Generation::next() {
  stop_clock();
  pull();
  Step step = scheduler_.next();
  start_clock(step);
  return step;
}

void Generation::pull() {
  while (source_ && std::ssize(live_) < options_.most_sequences) {
    std::optional<GenerationRequest> request = source_();
    if (!request) {
      source_ = {};
      return;
    }
    const auto num_prompt = std::ssize(request->prompt);
    rates_.prompt_tokens += num_prompt;
    const std::int32_t sequence = scheduler_.add(request->prompt, num_prompt - 1);
    live_.try_emplace(sequence, std::move(*request), tokenizer_);
  }
}

void Generation::start_clock(const Step& step) {
  std::int64_t num_rows = 0;
  bool has_prompt = false;
  for (const TokenBatch& batch : step.batches) {
    num_rows += batch.num_rows();
    for (std::size_t row = 0; row < batch.tokens.size(); ++row)
      has_prompt |= batch.positions[row] < std::ssize(live_.at(batch.sequences[row]).request.prompt);
  }
  running_ = has_prompt ? &prefill_ : &decode_;
  running_->num_rows += num_rows;
  step_start_ = Clock::now();
}

void Generation::stop_clock() {
  if (running_) running_->seconds += std::chrono::duration<double>(Clock::now() - step_start_).count();
  running_ = nullptr;
}

void Generation::take(const TokenBatch& batch, std::span<const std::int32_t> rows, const float* logits) {
  const TraceZone zone(Zone::kSample);
  const auto vocab_size = static_cast<std::size_t>(config_.vocab_size);
  const auto sequence_of = [&](std::size_t i) { return batch.sequences[static_cast<std::size_t>(rows[i])]; };
  drawn_.resize(rows.size());
  parallel_for(std::ssize(rows), 1, [&](std::int64_t row) {
    const auto i = static_cast<std::size_t>(row);
    Live& live = live_.at(sequence_of(i));
    const std::span<const float> values(logits + i * vocab_size, vocab_size);
    live.logits.update(std::as_bytes(values));
    const std::vector<std::int32_t>& history = scheduler_.tokens(sequence_of(i));
    drawn_[i] = sample(values, live.request.sampling, {history, live.request.prompt.size()},
                       {live.request.draw_sequence, history.size()});
  });
  for (std::size_t i = 0; i < rows.size(); ++i) draw(sequence_of(i), live_.at(sequence_of(i)), drawn_[i]);
}

void Generation::draw(std::int32_t sequence, Live& live, std::int32_t token) {
  ++rates_.drawn_tokens;
  live.result.tokens.push_back(token);
  scheduler_.append(sequence, token);
  if (token == config_.eos_token && !live.request.ignore_eos) return finish(sequence, FinishReason::kStop);

  const std::string text = live.stream.push(token);
  if (!text.empty() && events_.text) events_.text(live.request.ticket, text);
  if (live.stream.stopped()) return finish(sequence, FinishReason::kStop);
  if (std::ssize(live.result.tokens) >= live.request.max_tokens) return finish(sequence, FinishReason::kLength);
  if (std::ssize(scheduler_.tokens(sequence)) > config_.sequence_len) finish(sequence, FinishReason::kContext);
}

void Generation::finish(std::int32_t sequence, FinishReason reason) {
  auto node = live_.extract(sequence);
  Live& live = node.mapped();
  scheduler_.finish(sequence);
  const std::string text = live.stream.finish();
  if (!text.empty() && events_.text) events_.text(live.request.ticket, text);
  live.result.text = live.stream.text();
  live.result.finish_reason = reason;
  live.result.logits_hash = live.logits.digest();
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
