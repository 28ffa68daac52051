#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "engine/engine.hpp"
#include "engine/run_hash.hpp"
#include "engine/sampler.hpp"
#include "engine/scheduler.hpp"
#include "engine/text_stream.hpp"
#include "plan/grid.hpp"

namespace moesaic {

struct GenerationOptions {
  SamplingOptions sampling;
  std::int64_t max_tokens = 64;
  std::vector<std::string> stop_strings;
  bool ignore_eos = false;
  std::int64_t prefill_chunk = 512;
};

enum class FinishReason : std::uint8_t { kNone, kStop, kLength, kContext };
std::string_view name(FinishReason reason);

/// What became of a prompt.
struct Continuation {
  std::vector<std::int32_t> tokens;  ///< drawn, the end token included
  std::string text;
  FinishReason finish_reason = FinishReason::kNone;
};

/// Continues every prompt; all sequences run together.
class Generation final : public Driver {
 public:
  struct Events {
    std::function<void(std::int32_t sequence, const std::string& text)> text;       ///< a piece that is certain
    std::function<void(std::int32_t sequence, const Continuation& result)> finish;  ///< once a sequence
  };

  /// tokenizer: null gives no text.
  Generation(const plan::Grid& grid, std::vector<std::vector<std::int32_t>> prompts, GenerationOptions options,
             const io::Tokenizer* tokenizer, Events events);

  std::vector<TokenBatch> next() override;
  std::vector<std::int32_t> ended() override;
  void take(const TokenBatch& batch, std::span<const std::int32_t> rows, const float* logits) override;

  /// Of the rows that a token was drawn from.
  Hash128 hash() const { return hash_.digest(); }

  struct Rates {
    std::int64_t prompt_tokens = 0, drawn_tokens = 0;
    double prefill_tokens_per_s = 0, decode_tokens_per_s = 0;
  };
  Rates rates() const;

 private:
  using Clock = std::chrono::steady_clock;
  void draw(Sequence& sequence, std::span<const float> logits);
  void finish(Sequence& sequence, FinishReason reason);
  void stop_clock();

  ModelConfig config_;
  GenerationOptions options_;
  SchedulerOptions scheduler_;
  Events events_;
  std::vector<Sequence> sequences_;
  std::vector<Continuation> results_;
  std::vector<TextStream> streams_;
  std::vector<std::int32_t> ended_;
  RunHash hash_;

  /// A step with prompt tokens counts as prefill, the others as decode.
  struct Phase {
    double seconds = 0;
    std::int64_t num_rows = 0;
  };
  Phase prefill_, decode_;
  Phase* running_ = nullptr;
  Clock::time_point step_start_;
};

}  // namespace moesaic
