#include "apps/bench/model_driver.hpp"

#include <algorithm>

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

ModelDriver::ModelDriver(const plan::Grid& grid, const ModelTest& test, std::int64_t prefill_chunk)
    : test_(test),
      options_{grid.layout().dp, grid.layout().pp, prefill_chunk},
      vocab_size_(grid.config().vocab_size),
      sequences_(static_cast<std::size_t>(test.num_sequences)),
      hash_(sequences_.size()) {
  for (std::size_t i = 0; i < sequences_.size(); ++i) {
    Sequence& sequence = sequences_[i];
    sequence.index = static_cast<std::int32_t>(i);
    sequence.num_prompt = test.num_prompt;
    while (std::ssize(sequence.tokens) < test.num_prompt) append(sequence);
  }
}

/// The token depends on sequence and position only.
void ModelDriver::append(Sequence& sequence) const {
  const std::uint64_t place = static_cast<std::uint64_t>(sequence.index) << 32 | sequence.tokens.size();
  sequence.tokens.push_back(static_cast<std::int32_t>(random_word(place) % static_cast<std::uint64_t>(vocab_size_)));
}

bool ModelDriver::done() const {
  return std::all_of(sequences_.begin(), sequences_.end(), [&](const Sequence& sequence) {
    return sequence.num_cached == test_.num_prompt + test_.num_generated;
  });
}

std::vector<TokenBatch> ModelDriver::next() {
  if (!running_) {
    running_ = true;
    start_ = Clock::now();
  }
  if (done()) {
    seconds_ = std::chrono::duration<double>(Clock::now() - start_).count();
    return {};
  }
  const bool prompts_passed = std::all_of(sequences_.begin(), sequences_.end(),
                                          [](const Sequence& sequence) { return sequence.num_pending() == 0; });
  if (prompts_passed)
    for (Sequence& sequence : sequences_) append(sequence);
  return schedule(sequences_, options_);
}

std::vector<std::int32_t> ModelDriver::ended() {
  std::vector<std::int32_t> all;
  if (done())
    for (const Sequence& sequence : sequences_) all.push_back(sequence.index);
  return all;
}

void ModelDriver::take(const TokenBatch& batch, std::span<const std::int32_t> rows, const float* logits) {
  const auto vocab_size = static_cast<std::size_t>(vocab_size_);
  for (std::size_t i = 0; i < rows.size(); ++i)
    hash_.add(batch.sequences[static_cast<std::size_t>(rows[i])], {logits + i * vocab_size, vocab_size});
}

}  // namespace moesaic::apps::bench
