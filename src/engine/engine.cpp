#include "engine/engine.hpp"

#include <cstring>
#include <optional>
#include <string>

#include "base/trace.hpp"
#include "comm/agree.hpp"
#include "comm/wait.hpp"
#include "io/stop_signals.hpp"

namespace moesaic {
namespace {

/// What rank 0 tells all ranks to do.
struct Step {
  std::vector<std::int32_t> ended;  // before the batches
  std::vector<TokenBatch> batches;
};

/// Lists of integers behind their lengths, as 64-bit words.
class Packer {
 public:
  template <class T>
  void put(const std::vector<T>& list) {
    static_assert(std::is_integral_v<T>);
    words_.push_back(static_cast<std::int64_t>(list.size()));
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
  template <class T>
  void take(std::vector<T>& list) {
    const auto size = words_[next_++];
    list.clear();
    for (std::int64_t i = 0; i < size; ++i) list.push_back(static_cast<T>(words_[next_++]));
  }
  bool at_end() const { return next_ == words_.size(); }

 private:
  std::vector<std::int64_t> words_;
  std::size_t next_ = 0;
};

std::vector<std::byte> to_bytes(const Step& step) {
  Packer packer;
  packer.put(step.ended);
  for (const TokenBatch& batch : step.batches) {
    packer.put(batch.tokens);
    packer.put(batch.sequences);
    packer.put(batch.positions);
    packer.put(batch.num_group_rows);
    packer.put(batch.logit_rows);
  }
  return packer.bytes();
}

Step from_bytes(const std::vector<std::byte>& bytes) {
  Unpacker unpacker(bytes);
  Step step;
  unpacker.take(step.ended);
  while (!unpacker.at_end()) {
    TokenBatch& batch = step.batches.emplace_back();
    unpacker.take(batch.tokens);
    unpacker.take(batch.sequences);
    unpacker.take(batch.positions);
    unpacker.take(batch.num_group_rows);
    unpacker.take(batch.logit_rows);
  }
  return step;
}

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
  const LogitSink sink = [&](const TokenBatch& batch, std::span<const std::int32_t> rows, const float* logits) {
    guarded([&] { driver->take(batch, rows, logits); });
  };
  io::StopSignals stop_signals(2);  // SIGUSR1 alone: after SIGTERM the launcher may leave less than a step lasts
  comm::RunningWaits waits;
  while (true) {
    ++position().step;
    Step step;
    guarded([&] {
      if (const int signal = io::StopSignals::received()) fail("stopped by signal {} between two steps", signal);
      step = {driver->ended(), driver->next()};
    });
    std::vector<std::byte> bytes = failure ? std::vector<std::byte>() : to_bytes(step);
    world.broadcast(bytes, 0);
    if (bytes.empty()) {
      stop_signals.ignore();
      comm::agree(world, failure);  // throws on every rank
    }
    if (world.rank() != 0) step = from_bytes(bytes);
    stage.release(step.ended);
    if (step.batches.empty()) return;
    stage.run(step.batches, sink);
    waits.begin();
    if (observer) observer->after_step();
  }
}

}  // namespace moesaic
