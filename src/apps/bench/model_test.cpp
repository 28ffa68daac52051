#include "apps/bench/model_test.hpp"

#include <chrono>

#include "base/random.hpp"

namespace moesaic::apps::bench {
namespace {

std::int32_t token(std::int64_t sequence, std::int64_t position, std::int64_t vocab_size) {
  const std::uint64_t place = static_cast<std::uint64_t>(sequence) << 32 | static_cast<std::uint64_t>(position);
  return static_cast<std::int32_t>(random_word(place) % static_cast<std::uint64_t>(vocab_size));
}

}  // namespace

std::string ModelTest::name() const {
  const std::string prompt = fmt::format("pp{}", num_prompt), generated = fmt::format("tg{}", num_generated);
  return num_generated == 0 ? prompt : num_prompt == 0 ? generated : prompt + "+" + generated;
}

plan::Workload ModelTest::workload(std::int64_t prefill_chunk) const {
  const std::vector<std::int64_t> lengths(static_cast<std::size_t>(num_sequences),
                                          std::max<std::int64_t>(1, num_prompt));
  return {num_sequences, num_prompt + num_generated, largest_batch_rows(lengths, prefill_chunk)};
}

/// The prompt has at least one token, the first of those that pass one by one where there is none.
std::vector<GenerationRequest> ModelTest::requests(std::int64_t vocab_size) const {
  std::vector<GenerationRequest> requests(static_cast<std::size_t>(num_sequences));
  const std::int64_t size = std::max<std::int64_t>(1, num_prompt), num_rows = num_prompt + num_generated - size + 1;
  for (std::int64_t sequence = 0; sequence < num_sequences; ++sequence) {
    GenerationRequest& request = requests[static_cast<std::size_t>(sequence)];
    for (std::int64_t position = 0; position < size; ++position)
      request.prompt.push_back(token(sequence, position, vocab_size));
    for (std::int64_t row = 0; row < num_rows; ++row) request.forced.push_back(token(sequence, size + row, vocab_size));
    request.max_tokens = num_rows;
    request.ignore_eos = true;
  }
  return requests;
}

ModelPass run_test(const comm::Communicator& world, Stage& stage, const ModelTest& test,
                   const SchedulerOptions& scheduler) {
  Engine engine(world, stage, scheduler);
  std::vector<GenerationRequest> requests;
  if (world.rank() == 0) requests = test.requests(stage.grid().config().vocab_size);
  world.barrier();
  const auto start = std::chrono::steady_clock::now();
  const Hash128 hash = hash_of_answers(world, engine, std::move(requests));
  return {std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), hash};
}

}  // namespace moesaic::apps::bench
