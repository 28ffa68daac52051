#include "engine/logits_run.hpp"

namespace moesaic {

LogitsRun::LogitsRun(const plan::Grid& grid, std::vector<std::vector<std::int32_t>> sequences,
                     std::int64_t prefill_chunk, TakeRow take_row)
    : options_{grid.layout().dp, grid.layout().pp, prefill_chunk},
      vocab_size_(static_cast<std::size_t>(grid.config().vocab_size)),
      take_row_(std::move(take_row)),
      hash_(sequences.size()) {
  for (auto& tokens : sequences) {
    Sequence& s = sequences_.emplace_back();
    s.index = static_cast<std::int32_t>(sequences_.size() - 1);
    s.num_prompt = static_cast<std::int64_t>(tokens.size());
    s.tokens = std::move(tokens);
    s.all_logits = true;
  }
}

std::vector<TokenBatch> LogitsRun::next() { return schedule(sequences_, options_); }

std::vector<std::int32_t> LogitsRun::ended() {
  std::vector<std::int32_t> ended;
  for (Sequence& s : sequences_)
    if (!s.finished && s.num_pending() == 0) {
      s.finished = true;
      ended.push_back(s.index);
    }
  return ended;
}

void LogitsRun::take(const TokenBatch& batch, std::span<const std::int32_t> rows, const float* logits) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto row = static_cast<std::size_t>(rows[i]);
    const std::span<const float> values(logits + i * vocab_size_, vocab_size_);
    hash_.add(batch.sequences[row], values);
    if (take_row_) take_row_(batch.sequences[row], batch.positions[row], values);
  }
}

}  // namespace moesaic
