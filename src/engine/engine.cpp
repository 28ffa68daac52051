#include "engine/engine.hpp"

#include <algorithm>

#include "base/trace.hpp"
#include "comm/agree.hpp"

namespace moesaic {

Engine::Engine(const comm::Communicator& world, Stage& stage, SchedulerOptions scheduler,
               const io::Tokenizer* tokenizer, EngineProbes probes)
    : world_(world), stage_(stage), observer_(probes.observer), waits_(std::in_place) {
  if (world_.rank() == 0)
    generation_.emplace(stage.grid().config(), scheduler.for_layout(stage.grid().layout()), tokenizer,
                        std::move(probes.logits));
  ++position().step;
}

/// Runs rank 0's work; the reason of its failure is kept for the next step.
template <class Work>
void Engine::on_root(const Work& work) {
  if (failure_ || !generation_) return;
  try {
    work();
  } catch (const std::exception& caught) {
    failure_ = caught.what();
  }
}

HeadSink Engine::sink() {
  return {[this](const TokenBatch& batch, std::span<const std::int32_t> rows, const float* logits) {
            on_root([&] { generation_->take_logits(batch, rows, logits); });
          },
          [this](const TokenBatch& batch, std::span<const std::int32_t> rows, std::span<const RowScore> scores) {
            on_root([&] { generation_->take_scores(batch, rows, scores); });
          }};
}

StepKind Engine::step() {
  StepMessage message;
  on_root([&] {
    message.step = ended_ ? generation_->last() : generation_->next();
    message.kind = ended_ ? StepKind::kEnd : message.step.batches.empty() ? StepKind::kIdle : StepKind::kRun;
  });
  std::vector<std::byte> bytes;
  if (!failure_) bytes = to_bytes(message);
  world_.broadcast(bytes, 0);
  if (bytes.empty()) comm::agree(world_, failure_);  // throws on every rank
  if (world_.rank() != 0) message = from_bytes(bytes);
  if (message.kind == StepKind::kIdle) {
    patience_.emplace();
    world_.barrier();  // a rank that has died is noticed here
    return message.kind;
  }
  patience_.reset();
  stage_.run(message.step, sink());
  if (message.kind == StepKind::kEnd) {
    waits_.reset();
    return message.kind;
  }
  waits_->begin();
  if (observer_) observer_->after_step();
  on_root([&] { generation_->finish_step(); });
  ++position().step;
  return message.kind;
}

/// Well within the time that any rank waits for another.
std::chrono::milliseconds Engine::longest_pause() {
  constexpr double kLongest_s = 2, kShareOfTimeout = 0.25;
  return std::chrono::milliseconds(
      static_cast<std::int64_t>(1e3 * std::min(kLongest_s, kShareOfTimeout * comm::wait_timeout_s())));
}

}  // namespace moesaic
