#include "apps/bench/model_driver.hpp"

#include "base/random.hpp"

namespace moesaic::apps::bench {

std::string ModelTest::name() const {
  const std::string prompt = fmt::format("pp{}", num_prompt), generated = fmt::format("tg{}", num_generated);
  return num_generated == 0 ? prompt : num_prompt == 0 ? generated : prompt + "+" + generated;
}

plan::Workload ModelTest::workload(std::int64_t prefill_chunk) const {
  const std::vector<std::int64_t> lengths(static_cast<std::size_t>(num_sequences),
                                          std::max<std::int64_t>(1, num_prompt));
  return {num_sequences, num_prompt + num_generated, largest_batch_rows(lengths, prefill_chunk)};
}

ModelDriver::ModelDriver(const plan::Grid& grid, const ModelTest& test, SchedulerOptions scheduler)
    : test_(test),
      scheduler_(scheduler.for_layout(grid.layout())),
      vocab_size_(grid.config().vocab_size),
      hash_(static_cast<std::size_t>(test.num_sequences)) {
  for (std::int32_t sequence = 0; sequence < test_.num_sequences; ++sequence) {
    std::vector<std::int32_t> tokens;
    do tokens.push_back(token(sequence, std::ssize(tokens)));
    while (std::ssize(tokens) < test_.num_prompt);
    const std::int64_t newest = std::ssize(tokens) - 1;
    scheduler_.add(std::move(tokens), newest);
  }
}

std::int32_t ModelDriver::token(std::int32_t sequence, std::int64_t position) const {
  const std::uint64_t place = static_cast<std::uint64_t>(sequence) << 32 | static_cast<std::uint64_t>(position);
  return static_cast<std::int32_t>(random_word(place) % static_cast<std::uint64_t>(vocab_size_));
}

Step ModelDriver::next() {
  if (!running_) {
    running_ = true;
    start_ = Clock::now();
  }
  Step step = scheduler_.next();
  if (step.batches.empty()) seconds_ = std::chrono::duration<double>(Clock::now() - start_).count();
  return step;
}

void ModelDriver::take(const TokenBatch& batch, std::span<const std::int32_t> rows, const float* logits) {
  const auto vocab_size = static_cast<std::size_t>(vocab_size_);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto row = static_cast<std::size_t>(rows[i]);
    const std::int32_t sequence = batch.sequences[row];
    hash_.add(sequence, {logits + i * vocab_size, vocab_size});
    const std::int64_t num_passed = batch.positions[row] + 1;
    if (num_passed == test_.num_prompt + test_.num_generated)
      scheduler_.finish(sequence);
    else
      scheduler_.append(sequence, token(sequence, num_passed));
  }
}

}  // namespace moesaic::apps::bench
