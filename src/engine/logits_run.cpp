#include "engine/logits_run.hpp"

namespace moesaic {

LogitsRun::LogitsRun(const plan::Grid& grid, std::vector<std::vector<std::int32_t>> sequences,
                     SchedulerOptions scheduler, TakeRow take_row)
    : scheduler_(scheduler.for_layout(grid.layout())),
      vocab_size_(static_cast<std::size_t>(grid.config().vocab_size)),
      take_row_(std::move(take_row)),
      hash_(sequences.size()) {
  for (auto& tokens : sequences) {
    num_tokens_.push_back(std::ssize(tokens));
    scheduler_.add(std::move(tokens), 0);
  }
}

void LogitsRun::take(const TokenBatch& batch, std::span<const std::int32_t> rows, const float* logits) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto row = static_cast<std::size_t>(rows[i]);
    const std::span<const float> values(logits + i * vocab_size_, vocab_size_);
    const std::int32_t sequence = batch.sequences[row];
    hash_.add(sequence, values);
    if (take_row_) take_row_(sequence, batch.positions[row], values);
    if (batch.positions[row] + 1 == num_tokens_[static_cast<std::size_t>(sequence)]) scheduler_.finish(sequence);
  }
}

}  // namespace moesaic
