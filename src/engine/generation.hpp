#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>

#include "engine/engine.hpp"
#include "engine/run_hash.hpp"
#include "engine/sampler.hpp"
#include "engine/scheduler.hpp"
#include "engine/text_stream.hpp"
#include "plan/grid.hpp"

namespace moesaic {

/// One continuation that is asked for.
struct GenerationRequest {
  std::int64_t ticket = 0;  ///< the caller's name for it, unique
  std::vector<std::int32_t> prompt;
  std::int64_t max_tokens = 64;
  std::vector<std::string> stop_strings;
  bool ignore_eos = false;
  SamplingOptions sampling;
  std::uint64_t draw_sequence = 0;  ///< DrawPoint::sequence of its draws
};

enum class FinishReason : std::uint8_t { kNone, kStop, kLength, kContext };
std::string_view name(FinishReason reason);

/// What became of it.
struct Continuation {
  std::vector<std::int32_t> tokens;  ///< drawn, the end token included
  std::string text;
  FinishReason finish_reason = FinishReason::kNone;
  Hash128 logits_hash;  ///< of the rows that a token was drawn from
};

/// Continues prompts as a source gives them, many at the same time.
class Generation final : public Driver {
 public:
  /// The next request; nothing: that was the last. Asked whenever another one may be under way.
  using Source = std::function<std::optional<GenerationRequest>()>;
  struct Events {
    std::function<void(std::int64_t ticket, const std::string& text)> text;       ///< a piece that is certain
    std::function<void(std::int64_t ticket, const Continuation& result)> finish;  ///< once a request
  };

  /// tokenizer: null gives no text.
  Generation(const ModelConfig& config, const SchedulerOptions& options, const io::Tokenizer* tokenizer, Source source,
             Events events);

  Step next() override;
  void take(const TokenBatch& batch, std::span<const std::int32_t> rows, const float* logits) override;

  struct Rates {
    std::int64_t prompt_tokens = 0, drawn_tokens = 0;
    double prefill_tokens_per_s = 0, decode_tokens_per_s = 0;
  };
  Rates rates() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Live {
    Live(GenerationRequest asked, const io::Tokenizer* tokenizer)
        : request(std::move(asked)), stream(tokenizer, request.stop_strings) {}
    GenerationRequest request;
    Continuation result;
    TextStream stream;
    Hasher logits;
  };
  void pull();
  void start_clock(const Step& step);
  void stop_clock();
  void draw(std::int32_t sequence, Live& live, std::int32_t token);
  void finish(std::int32_t sequence, FinishReason reason);

  ModelConfig config_;
  SchedulerOptions options_;
  Scheduler scheduler_;
  const io::Tokenizer* tokenizer_;
  Source source_;
  Events events_;
  std::unordered_map<std::int32_t, Live> live_;  // by the scheduler's number
  std::vector<std::int32_t> drawn_;
  Rates rates_;

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
