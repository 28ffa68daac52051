#include "engine/engine.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>

#include "base/trace.hpp"
#include "comm/agree.hpp"
#include "comm/wait.hpp"
#include "host/stop_signals.hpp"

namespace moesaic {
namespace {

/// Integers, and lists of them behind their lengths, as 64-bit words.
class Packer {
 public:
  void put(std::int64_t word) { words_.push_back(word); }
  template <class T>
  void put(const std::vector<T>& list) {
    static_assert(std::is_integral_v<T>);
    put(std::ssize(list));
    words_.insert(words_.end(), list.begin(), list.end());
  }
  std::vector<std::byte> bytes() const {
    std::vector<std::byte> bytes(words_.size() * sizeof(std::int64_t));
    std::memcpy(bytes.data(), words_.data(), bytes.size());
    return bytes;
  }

 private:
  std::vector<std::int64_t> words_;
};

class Unpacker {
 public:
  explicit Unpacker(const std::vector<std::byte>& bytes) : words_(bytes.size() / sizeof(std::int64_t)) {
    std::memcpy(words_.data(), bytes.data(), bytes.size());
  }
  std::int64_t take() { return words_[next_++]; }
  template <class T>
  void take(std::vector<T>& list) {
    list.resize(static_cast<std::size_t>(take()));
    for (T& element : list) element = static_cast<T>(take());
  }

 private:
  std::vector<std::int64_t> words_;
  std::size_t next_ = 0;
};

std::vector<std::byte> to_bytes(const Step& step) {
  Packer packer;
  packer.put(step.released);
  packer.put(std::ssize(step.grants));
  for (const BlockGrant& grant : step.grants) {
    packer.put(grant.sequence);
    packer.put(grant.group);
    packer.put(grant.blocks);
  }
  packer.put(step.side_by_side);
  packer.put(std::ssize(step.batches));
  for (const TokenBatch& batch : step.batches) {
    packer.put(batch.tokens);
    packer.put(batch.sequences);
    packer.put(batch.positions);
    packer.put(batch.num_group_rows);
    packer.put(batch.logit_rows);
    packer.put(batch.score_rows);
    packer.put(batch.score_tokens);
  }
  return packer.bytes();
}

Step from_bytes(const std::vector<std::byte>& bytes) {
  Unpacker unpacker(bytes);
  Step step;
  unpacker.take(step.released);
  step.grants.resize(static_cast<std::size_t>(unpacker.take()));
  for (BlockGrant& grant : step.grants) {
    grant.sequence = static_cast<std::int32_t>(unpacker.take());
    grant.group = static_cast<std::int32_t>(unpacker.take());
    unpacker.take(grant.blocks);
  }
  step.side_by_side = static_cast<int>(unpacker.take());
  step.batches.resize(static_cast<std::size_t>(unpacker.take()));
  for (TokenBatch& batch : step.batches) {
    unpacker.take(batch.tokens);
    unpacker.take(batch.sequences);
    unpacker.take(batch.positions);
    unpacker.take(batch.num_group_rows);
    unpacker.take(batch.logit_rows);
    unpacker.take(batch.score_rows);
    unpacker.take(batch.score_tokens);
  }
  return step;
}

/// Ranks that have nothing to do hear of each other so often: well within the time that any of them waits.
std::chrono::milliseconds beat() {
  constexpr double kLongest_s = 2, kShareOfTimeout = 0.25;
  return std::chrono::milliseconds(
      static_cast<std::int64_t>(1e3 * std::min(kLongest_s, kShareOfTimeout * comm::wait_timeout_s())));
}

constexpr std::size_t kIdleMessage_bytes = 1;  // in place of a step, which is longer

}  // namespace

void run(const comm::Communicator& world, Stage& stage, Driver* driver, StepObserver* observer) {
  std::optional<std::string> failure;
  const auto guarded = [&](auto&& work) {
    if (failure || world.rank() != 0) return;
    try {
      work();
    } catch (const std::exception& caught) {
      failure = caught.what();  // told to all instead of the next step
    }
  };
  const HeadSink sink = {
      [&](const TokenBatch& batch, std::span<const std::int32_t> rows, const float* logits) {
        guarded([&] { driver->take(batch, rows, logits); });
      },
      [&](const TokenBatch& batch, std::span<const std::int32_t> rows, std::span<const RowScore> scores) {
        guarded([&] { driver->take_scores(batch, rows, scores); });
      }};
  host::StopSignals stop_signals(2);  // SIGUSR1 alone: after SIGTERM the launcher may leave less than a step lasts
  comm::RunningWaits waits;
  std::optional<comm::PatientWaits> patience;  // while the driver is not ready
  while (true) {
    ++position().step;
    Step step;
    bool ready = true;
    guarded([&] {
      if (const int signal = host::StopSignals::received()) driver->stop(signal);
      ready = driver->ready(beat());
      if (ready) step = driver->next();
    });
    std::vector<std::byte> bytes;
    if (!failure) bytes = ready ? to_bytes(step) : std::vector<std::byte>(kIdleMessage_bytes);
    world.broadcast(bytes, 0);
    if (bytes.size() == kIdleMessage_bytes) {
      --position().step;
      patience.emplace();
      world.barrier();  // a rank that has died is noticed here
      continue;
    }
    patience.reset();
    if (bytes.empty()) {
      stop_signals.ignore();
      comm::agree(world, failure);  // throws on every rank
    }
    if (world.rank() != 0) step = from_bytes(bytes);
    stage.run(step, sink);
    if (step.batches.empty()) return;
    waits.begin();
    if (observer) observer->after_step();
  }
}

}  // namespace moesaic
