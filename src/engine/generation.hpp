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
#include "model/log_probs.hpp"
#include "plan/grid.hpp"

namespace moesaic {

/// One continuation that is asked for.
struct GenerationRequest {
  std::int64_t ticket = 0;  ///< the caller's name for it, unique
  std::vector<std::int32_t> prompt;
  std::int64_t max_tokens = 64;  ///< 0: only log-probabilities of the prompt are wanted
  std::int64_t min_tokens = 0;   ///< the first so many are not the end token, and a stop string that is complete before
                                 ///< the last of them is text
  std::vector<std::string> stop_strings;
  std::vector<std::int32_t>
      stop_tokens;  ///< ids that end it as the end token does, whatever ignore_eos says; ascending
  bool ignore_eos = false;
  SamplingOptions sampling;
  std::uint64_t draw_sequence = 0;  ///< DrawPoint's
  std::uint32_t draw_choice = 0;
  std::optional<std::int64_t> score_from;    ///< from this position (at least 1) on the prompt's tokens are scored
  std::optional<std::size_t> num_log_probs;  ///< drawn tokens are scored, and all scores have so many of the best

  /// Nothing is drawn, and no more is wanted than how probable the prompt's tokens are.
  bool only_scores() const { return max_tokens == 0 && score_from && num_log_probs.value_or(0) == 0; }
};

/// How probable a token was, from the logits as they are: before temperature, penalties and filters.
struct ScoredToken {
  std::int32_t token = 0;
  double log_prob = 0;    ///< natural logarithm
  std::int32_t best = 0;  ///< the most probable token; ties: the lowest id
  std::vector<TokenLogProb> top;
};

enum class FinishReason : std::uint8_t { kNone, kStop, kLength, kContext, kCancelled };
std::string_view name(FinishReason reason);

/// What became of it.
struct Continuation {
  std::vector<std::int32_t> tokens;  ///< drawn, the end token included
  std::string text;
  FinishReason finish_reason = FinishReason::kNone;
  std::vector<ScoredToken> prompt_scores, scores;  ///< of the prompt from score_from on, and of `tokens`
  Hash128 logits_hash;  ///< of the rows that were wanted; where nothing but scores was, of the log-probabilities
  double first_token_s = 0, total_s = 0;  ///< since the request was taken
  std::vector<float> gaps_s;              ///< between tokens
};

/// Continues prompts as a source gives them, many at the same time.
class Generation final : public Driver {
 public:
  /// The next request; nothing: that was the last. Asked whenever another one may be under way.
  using Source = std::function<std::optional<GenerationRequest>()>;
  struct Events {
    std::function<void(std::int64_t ticket, const std::string& text)> text;       ///< a piece that is certain
    std::function<void(std::int64_t ticket, const Continuation& result)> finish;  ///< once a request
    std::function<void()> before_step;                                            ///< may call end()
    std::function<void(int signal)> stopped;  ///< by a signal, and may call end(); without it that is an Error
    /// Nothing is under way: whether the source can be asked; may take `most` to say no, and is asked again.
    std::function<bool(std::chrono::milliseconds most)> await = {};
  };

  /// tokenizer: null gives no text.
  Generation(const ModelConfig& config, const SchedulerOptions& options, const io::Tokenizer* tokenizer, Source source,
             Events events);

  bool ready(std::chrono::milliseconds most) override;
  Step next() override;
  void take(const TokenBatch& batch, std::span<const std::int32_t> rows, const float* logits) override;
  void take_scores(const TokenBatch& batch, std::span<const std::int32_t> rows,
                   std::span<const RowScore> scores) override;
  void stop(int signal) override;

  /// The run is over after the step in hand; what is under way is dropped.
  void end() { ended_ = true; }

  /// Between two steps: a request ends with what has been drawn for it.
  void cancel(std::int64_t ticket);

  const Scheduler& scheduler() const { return scheduler_; }

  struct Rates {
    /// Of prompts: those that have passed or were found in the KV cache; of finished requests all.
    std::int64_t prompt_tokens = 0;
    std::int64_t drawn_tokens = 0;
    double prefill_tokens_per_s = 0, decode_tokens_per_s = 0;
  };
  Rates rates() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Live {
    Live(GenerationRequest asked, std::int32_t eos_token, const io::Tokenizer* tokenizer);
    GenerationRequest request;
    std::vector<std::int32_t> banned;  // before min_tokens are drawn: the end token and stop_tokens, ascending
    Continuation result;
    TextStream stream;
    Hasher logits;
    std::int64_t num_passed = 0;  // tokens of the prompt, each counted once however often it passes
    Clock::time_point start = Clock::now(), last_token = start;

    bool in_prompt(std::int64_t position) const { return position + 1 < std::ssize(request.prompt); }
  };
  /// What a row of logits becomes: a drawn token, and how probable it or the prompt's next one is.
  struct RowResult {
    std::int32_t token = 0;
    std::optional<ScoredToken> score;
  };
  RowResult evaluate(const Live& live, std::int32_t sequence, std::int64_t position,
                     std::span<const float> logits) const;
  void pull();
  void start_clock(const Step& step);
  void count_passed(Live& live, std::int64_t num_tokens);
  void stop_clock();
  void append(std::int32_t sequence, Live& live, std::int32_t token);
  void finish(std::int32_t sequence, FinishReason reason);

  ModelConfig config_;
  SchedulerOptions options_;
  Scheduler scheduler_;
  const io::Tokenizer* tokenizer_;
  Source source_;
  Events events_;
  std::unordered_map<std::int32_t, Live> live_;  // by the scheduler's number
  std::vector<RowResult> row_results_;
  std::vector<std::size_t> runs_;  // where rows of another sequence begin
  bool ended_ = false;
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
