#include "engine/generation.hpp"

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

Generation::Generation(const plan::Grid& grid, std::vector<std::vector<std::int32_t>> prompts,
                       GenerationOptions options, const io::Tokenizer* tokenizer, Events events)
    : config_(grid.config()),
      options_(std::move(options)),
      scheduler_{grid.layout().dp, grid.layout().pp, options_.prefill_chunk},
      events_(std::move(events)),
      results_(prompts.size()),
      streams_(prompts.size(), TextStream(tokenizer, options_.stop_strings)),
      hash_(prompts.size()) {
  for (auto& prompt : prompts) {
    Sequence& s = sequences_.emplace_back();
    s.index = static_cast<std::int32_t>(sequences_.size() - 1);
    s.num_prompt = static_cast<std::int64_t>(prompt.size());
    s.tokens = std::move(prompt);
  }
}

std::vector<TokenBatch> Generation::next() {
  stop_clock();
  auto batches = schedule(sequences_, scheduler_);
  std::int64_t num_rows = 0;
  bool has_prompt = false;
  for (const TokenBatch& batch : batches) {
    num_rows += batch.num_rows();
    for (std::size_t row = 0; row < batch.tokens.size(); ++row)
      has_prompt |= batch.positions[row] < sequences_[static_cast<std::size_t>(batch.sequences[row])].num_prompt;
  }
  running_ = has_prompt ? &prefill_ : &decode_;
  running_->num_rows += num_rows;
  step_start_ = Clock::now();
  return batches;
}

void Generation::stop_clock() {
  if (running_) running_->seconds += std::chrono::duration<double>(Clock::now() - step_start_).count();
  running_ = nullptr;
}

std::vector<std::int32_t> Generation::ended() { return std::exchange(ended_, {}); }

void Generation::take(const TokenBatch& batch, std::span<const std::int32_t> rows, const float* logits) {
  const TraceZone zone(Zone::kSample);
  const auto vocab_size = static_cast<std::size_t>(config_.vocab_size);
  for (std::size_t i = 0; i < rows.size(); ++i)
    draw(sequences_[static_cast<std::size_t>(batch.sequences[static_cast<std::size_t>(rows[i])])],
         {logits + i * vocab_size, vocab_size});
}

void Generation::draw(Sequence& sequence, std::span<const float> logits) {
  const auto idx = static_cast<std::size_t>(sequence.index);
  hash_.add(sequence.index, logits);
  const DrawPoint point{idx, sequence.tokens.size()};
  const std::int32_t token = sample(logits, options_.sampling, sequence.tokens, point);
  Continuation& result = results_[idx];
  result.tokens.push_back(token);
  sequence.tokens.push_back(token);
  if (token == config_.eos_token && !options_.ignore_eos) return finish(sequence, FinishReason::kStop);

  const std::string text = streams_[idx].push(token);
  if (!text.empty() && events_.text) events_.text(sequence.index, text);
  if (streams_[idx].stopped()) return finish(sequence, FinishReason::kStop);
  if (std::ssize(result.tokens) >= options_.max_tokens) return finish(sequence, FinishReason::kLength);
  if (std::ssize(sequence.tokens) > config_.sequence_len) finish(sequence, FinishReason::kContext);
}

void Generation::finish(Sequence& sequence, FinishReason reason) {
  const auto idx = static_cast<std::size_t>(sequence.index);
  const std::string text = streams_[idx].finish();
  if (!text.empty() && events_.text) events_.text(sequence.index, text);
  results_[idx].text = streams_[idx].text();
  results_[idx].finish_reason = reason;
  sequence.finished = true;
  ended_.push_back(sequence.index);
  if (events_.finish) events_.finish(sequence.index, results_[idx]);
}

Generation::Rates Generation::rates() const {
  Rates rates;
  for (const Sequence& s : sequences_) rates.prompt_tokens += s.num_prompt;
  for (const Continuation& result : results_) rates.drawn_tokens += std::ssize(result.tokens);
  const auto per_second = [](const Phase& phase) {
    return phase.seconds > 0 ? static_cast<double>(phase.num_rows) / phase.seconds : 0;
  };
  rates.prefill_tokens_per_s = per_second(prefill_);
  rates.decode_tokens_per_s = per_second(decode_);
  return rates;
}

}  // namespace moesaic
